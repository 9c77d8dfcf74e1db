/**
 * The memory that Python's worker and the device's worker share. An answer is two words, its state
 * and its length, and then bytes. The status is two words, how many runs are done and whether there
 * is trouble, and then the trouble as text.
 */

import type { Answer } from "./gpu_host";
import { GpuTrouble, type Trouble } from "./gpu_errors";

const HEADER_BYTES = 8;
const TEXT_BYTES = 2048; // of an error's words

/** The longest wait before an interrupt can get in. */
const MOMENT_MS = 100;

const encode = (value: object): Uint8Array => {
  const text = new TextEncoder().encode(JSON.stringify(value));
  return text.length <= TEXT_BYTES ? text : encode({ ...value, message: "" });
};

const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.slice());

function troubleIn(bytes: Uint8Array): Trouble {
  return JSON.parse(decode(bytes));
}

/** A part of shared memory: two words and bytes. */
class Shared {
  readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory, 0, 2);
    this.bytes = new Uint8Array(memory, HEADER_BYTES);
  }
  put(bytes: Uint8Array): void {
    this.bytes.set(bytes);
  }
  get(length: number): Uint8Array {
    return this.bytes.subarray(0, length);
  }
  set(word: number, value: number): void {
    Atomics.store(this.words, word, value);
    Atomics.notify(this.words, word);
  }
}

const newShared = (size: number): SharedArrayBuffer =>
  new SharedArrayBuffer(HEADER_BYTES + Math.max(size, TEXT_BYTES));

// ── answers ──

const STATE = 0;
const LENGTH = 1;
const DONE = 1;
const FAILED = 2;

export const newAnswer = (size: number): SharedArrayBuffer => newShared(size);

/** The asking side. */
export class SharedAnswer<T> implements Answer<T> {
  private readonly shared: Shared;
  constructor(memory: SharedArrayBuffer, private readonly read: (bytes: Uint8Array) => T) {
    this.shared = new Shared(memory);
  }
  ready(): boolean {
    return Atomics.wait(this.shared.words, STATE, 0, MOMENT_MS) !== "timed-out";
  }
  take(): T {
    const bytes = this.shared.get(Atomics.load(this.shared.words, LENGTH));
    if (Atomics.load(this.shared.words, STATE) === DONE) return this.read(bytes);
    const { kind, message } = troubleIn(bytes);
    throw new GpuTrouble(kind, message);
  }
}

/** The answering side. */
export class Reply {
  private readonly shared: Shared;
  constructor(memory: SharedArrayBuffer) {
    this.shared = new Shared(memory);
  }
  done(bytes: Uint8Array = new Uint8Array()): void {
    this.end(DONE, bytes);
  }
  fail(trouble: Trouble): void {
    this.end(FAILED, encode(trouble));
  }
  private end(state: number, bytes: Uint8Array): void {
    this.shared.put(bytes);
    Atomics.store(this.shared.words, LENGTH, bytes.length);
    this.shared.set(STATE, state);
  }
}

// ── status ──

const RUNS = 0;
const TROUBLED = 1;

export const newStatus = (): SharedArrayBuffer => newShared(0);

/** What the device's worker tells at any time. The second word is the length of the trouble. */
export class Status {
  private readonly shared: Shared;
  constructor(memory: SharedArrayBuffer) {
    this.shared = new Shared(memory);
  }
  /** Runs done so far. */
  get runs(): number {
    return Atomics.load(this.shared.words, RUNS);
  }
  ended(): void {
    this.shared.set(RUNS, this.runs + 1);
  }
  /** Wait a moment, unless more runs than these are done. */
  waitBeyond(runs: number): void {
    Atomics.wait(this.shared.words, RUNS, runs, MOMENT_MS);
  }
  get trouble(): Trouble | null {
    const length = Atomics.load(this.shared.words, TROUBLED);
    return length === 0 ? null : troubleIn(this.shared.get(length));
  }
  /** The first trouble is told, as what follows from it says less, and that the device is lost. */
  tell(trouble: Trouble): void {
    if (this.trouble !== null && trouble.kind !== "lost") return;
    const bytes = encode(trouble);
    Atomics.store(this.shared.words, TROUBLED, 0);
    this.shared.put(bytes);
    this.shared.set(TROUBLED, bytes.length);
  }
  clear(): void {
    Atomics.store(this.shared.words, TROUBLED, 0);
  }
}
