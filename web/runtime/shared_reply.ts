/**
 * Replies and status of the GPU worker, in memory that it shares with Python's worker. A reply has
 * two words, state and length, followed by its bytes. The status has two words, the number of
 * completed runs and the length of an error report, followed by the report as JSON.
 */

import { DeviceError, type ErrorReport } from "./gpu_errors";
import type { PollableResult } from "./gpu_host";

const HEADER_BYTES = 8;
const MAX_ERROR_BYTES = 2048; // of an error report

/** The duration of one poll, after which an interrupt can be handled. */
const POLL_MS = 100;

const encodeError = (error: object): Uint8Array => {
  const bytes = new TextEncoder().encode(JSON.stringify(error));
  return bytes.length <= MAX_ERROR_BYTES ? bytes : encodeError({ ...error, message: "" });
};

const decodeText = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.slice());

function parseError(bytes: Uint8Array): ErrorReport {
  return JSON.parse(decodeText(bytes));
}

/** Shared memory that consists of two words and bytes. */
class MessageBuffer {
  readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory, 0, 2);
    this.bytes = new Uint8Array(memory, HEADER_BYTES);
  }
  write(bytes: Uint8Array): void {
    this.bytes.set(bytes);
  }
  read(length: number): Uint8Array {
    return this.bytes.subarray(0, length);
  }
  storeAndNotify(word: number, value: number): void {
    Atomics.store(this.words, word, value);
    Atomics.notify(this.words, word);
  }
}

const newMessageBuffer = (size: number): SharedArrayBuffer =>
  new SharedArrayBuffer(HEADER_BYTES + Math.max(size, MAX_ERROR_BYTES));

// ── replies ──

const STATE_WORD = 0;
const LENGTH_WORD = 1;
const DONE = 1;
const FAILED = 2;

export const newReplyBuffer = (size: number): SharedArrayBuffer => newMessageBuffer(size);

/** A reply on the requesting side. */
export class SharedReply<T> implements PollableResult<T> {
  private readonly shared: MessageBuffer;
  constructor(memory: SharedArrayBuffer, private readonly decode: (bytes: Uint8Array) => T) {
    this.shared = new MessageBuffer(memory);
  }
  ready(): boolean {
    return Atomics.wait(this.shared.words, STATE_WORD, 0, POLL_MS) !== "timed-out";
  }
  take(): T {
    const bytes = this.shared.read(Atomics.load(this.shared.words, LENGTH_WORD));
    if (Atomics.load(this.shared.words, STATE_WORD) === DONE) return this.decode(bytes);
    const { kind, message } = parseError(bytes);
    throw new DeviceError(kind, message);
  }
}

/** A reply on the replying side. */
export class ReplyWriter {
  private readonly shared: MessageBuffer;
  constructor(memory: SharedArrayBuffer) {
    this.shared = new MessageBuffer(memory);
  }
  resolve(bytes: Uint8Array = new Uint8Array()): void {
    this.settle(DONE, bytes);
  }
  reject(error: ErrorReport): void {
    this.settle(FAILED, encodeError(error));
  }
  private settle(state: number, bytes: Uint8Array): void {
    this.shared.write(bytes);
    Atomics.store(this.shared.words, LENGTH_WORD, bytes.length);
    this.shared.storeAndNotify(STATE_WORD, state);
  }
}

// ── status ──

const RUNS_WORD = 0;
const ERROR_LENGTH_WORD = 1;

export const newStatusBuffer = (): SharedArrayBuffer => newMessageBuffer(0);

/** The status, which the GPU worker updates at any time. */
export class SharedStatus {
  private readonly shared: MessageBuffer;
  constructor(memory: SharedArrayBuffer) {
    this.shared = new MessageBuffer(memory);
  }
  /** Number of completed runs. */
  get completedRuns(): number {
    return Atomics.load(this.shared.words, RUNS_WORD);
  }
  countRun(): void {
    this.shared.storeAndNotify(RUNS_WORD, this.completedRuns + 1);
  }
  /** Wait briefly, unless more than `runs` runs are complete. */
  waitForRunAfter(runs: number): void {
    Atomics.wait(this.shared.words, RUNS_WORD, runs, POLL_MS);
  }
  get error(): ErrorReport | null {
    const length = Atomics.load(this.shared.words, ERROR_LENGTH_WORD);
    return length === 0 ? null : parseError(this.shared.read(length));
  }
  /** Store an error unless one is pending: the first is the cause. A lost device replaces it. */
  reportError(error: ErrorReport): void {
    if (this.error !== null && error.kind !== "lost") return;
    const bytes = encodeError(error);
    Atomics.store(this.shared.words, ERROR_LENGTH_WORD, 0);
    this.shared.write(bytes);
    this.shared.storeAndNotify(ERROR_LENGTH_WORD, bytes.length);
  }
  clearError(): void {
    Atomics.store(this.shared.words, ERROR_LENGTH_WORD, 0);
  }
}
