/** The compiled engine on every thread of this page: memory, threads, programs and their runs. */

import type { EngineBuild } from "../protocol";
import { requireFunction, requireGlobal, type WasmFunction } from "./exports";
import { isRelaxed, isThreaded } from "./features";
import { newStagingBuffer, writeProgram } from "./program_staging";
import { ProgramTable } from "./programs";
import type { ThreadStart } from "./thread_worker";
import ThreadWorker from "./thread_worker?worker";
import { takeWorkerError } from "./worker_errors";

const WASM_PAGE_BYTES = 65536;
const CACHE_LINE_BYTES = 64;
/** The argument block begins with the arena address and the thread count. */
const FIRST_SLOT_WORD = 2;
/** The command to load a program (wasm/engine.h). */
const LOAD_COMMAND = 1;

const OUT_OF_MEMORY = "this device has no memory left for the engine; close other tabs and reload";

/** Create the largest memory that the device allows, up to the engine's limit of 65535 pages. */
function allocateMemory(shared: boolean, initial: number): WebAssembly.Memory {
  for (let maximum = 65535; maximum > initial; maximum = maximum >>> 1) {
    try {
      return new WebAssembly.Memory({ initial, maximum, shared });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  throw new RangeError(OUT_OF_MEMORY);
}

/** Initial memory, in WebAssembly pages: the engine's data and stack. */
const INITIAL_PAGES = 64;

const alignToCacheLine = (address: number): number =>
  Math.ceil(address / CACHE_LINE_BYTES) * CACHE_LINE_BYTES;

/** A helper thread did not start, so the engine can run only on one thread. */
export class HelperThreadError extends Error {}

/** A helper thread starts in 20 to 100 ms; on a busy machine it takes longer. */
const THREAD_START_TIMEOUT_MS = 10_000;

/** Resolves when the helper thread is about to enter its worker loop. */
function startThreadWorker(worker: Worker, start: ThreadStart): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => {
      clearTimeout(timeout);
      reject(new HelperThreadError(`helper thread ${start.thread} did not start: ${reason}`));
    };
    const timeout = setTimeout(
      () => fail(`no answer in ${THREAD_START_TIMEOUT_MS / 1000} seconds`), THREAD_START_TIMEOUT_MS);
    worker.onmessage = () => {
      clearTimeout(timeout);
      resolve();
    };
    worker.onerror = (event) => fail(takeWorkerError(event));
    worker.postMessage(start);
  });
}

export class Engine {
  /** Number of host calls so far: runs, loads, reads and writes. */
  calls = 0;
  readonly shared: boolean;
  readonly relaxed: boolean;
  /** Address at which the heap of programs begins; memory below it belongs to the engine. */
  readonly heapBase: number;
  private bytes: Uint8Array;
  private words: Int32Array;
  private readonly programs: ProgramTable;
  private readonly staging: SharedArrayBuffer | null;
  private readonly stackPointer: WebAssembly.Global;
  private readonly stackTop: number;
  private readonly runProgram: WasmFunction;
  private readonly postCommand: WasmFunction;
  private readonly waitCommand: WasmFunction;

  private constructor(
    readonly build: EngineBuild,
    readonly threads: number,
    private readonly memory: WebAssembly.Memory,
    instance: WebAssembly.Instance,
  ) {
    this.shared = isThreaded(build);
    this.relaxed = isRelaxed(build);
    this.staging = threads > 1 ? newStagingBuffer() : null;
    this.programs = new ProgramTable(instance, memory);
    this.stackPointer = requireGlobal(instance, "__stack_pointer");
    this.stackTop = this.stackPointer.value;
    this.runProgram = requireFunction(instance, "run_program");
    this.postCommand = requireFunction(instance, "post_command");
    this.waitCommand = requireFunction(instance, "wait_command");
    this.bytes = new Uint8Array(memory.buffer);
    this.words = new Int32Array(memory.buffer);

    const scratchBase = alignToCacheLine(requireGlobal(instance, "__heap_base").value);
    const scratchBytes = threads * requireFunction(instance, "scratch_size")();
    const stackBase = alignToCacheLine(scratchBase + scratchBytes);
    const stackBytes = (threads - 1) * requireFunction(instance, "stack_size")();
    this.heapBase = alignToCacheLine(stackBase + stackBytes);
    if (!this.grow(this.heapBase)) throw new RangeError(OUT_OF_MEMORY);
    requireFunction(instance, "setup")(threads, scratchBase);
  }

  /** Start the engine and its helper threads; resolves when every thread can run programs. */
  static async start(
    module: WebAssembly.Module, build: EngineBuild, threads: number,
  ): Promise<Engine> {
    const memory = allocateMemory(isThreaded(build), INITIAL_PAGES);
    const instance = await WebAssembly.instantiate(module, { env: { memory } });
    const engine = new Engine(build, threads, memory, instance);
    await engine.startThreadWorkers(module, requireFunction(instance, "stack_size")());
    return engine;
  }

  private async startThreadWorkers(module: WebAssembly.Module, stackBytes: number): Promise<void> {
    const { memory, staging } = this;
    if (staging === null) return;
    const workers = Array.from({ length: this.threads - 1 }, (_, i) =>
      new ThreadWorker({ name: `tensorbrook thread ${i + 1}` }));
    try {
      await Promise.all(workers.map((worker, i) => {
        const stackTop = this.heapBase - i * stackBytes;
        return startThreadWorker(worker, { module, memory, staging, thread: i + 1, stackTop });
      }));
    } catch (error) {
      for (const worker of workers) worker.terminate();
      throw error;
    }
  }

  /** Grow the memory to at least `size` bytes; returns false if the device has no more memory. */
  grow(size: number): boolean {
    const missing = size - this.memory.buffer.byteLength;
    if (missing <= 0) return true;
    try {
      this.memory.grow(Math.ceil(missing / WASM_PAGE_BYTES));
    } catch (error) {
      if (error instanceof RangeError) return false;
      throw error;
    }
    this.bytes = new Uint8Array(this.memory.buffer);
    this.words = new Int32Array(this.memory.buffer);
    return true;
  }

  /** Instantiate a program on every thread; returns its table slot, which serves as its handle. */
  load(bytes: Uint8Array<ArrayBuffer>): number {
    this.calls += 1;
    const run = this.programs.instantiate(bytes);
    const slot = this.programs.allocateSlot();
    this.programs.install(slot, run);
    if (this.staging !== null) {
      writeProgram(this.staging, slot, bytes);
      this.postCommand(LOAD_COMMAND, 0, bytes.length);
      if (this.waitCommand() !== 0) throw new Error("a helper thread could not load the program");
    }
    return slot;
  }

  unload(program: number): void {
    this.programs.freeSlot(program);
  }

  /** Write the slots of the argument block and run the program on every thread: one host call. */
  run(program: number, argumentBlock: number, ...slots: number[]): void {
    this.calls += 1;
    this.words.set(slots, (argumentBlock >>> 2) + FIRST_SLOT_WORD);
    try {
      const failed = this.runProgram(program, argumentBlock) !== 0;
      if (failed) throw new Error("a helper thread failed in a program");
    } catch (error) {
      this.stackPointer.value = this.stackTop; // a trap does not unwind the stack
      throw error;
    }
  }

  /** A view of the bytes at an address, valid until the memory grows. */
  view(address: number, size: number): Uint8Array {
    this.calls += 1;
    return this.bytes.subarray(address, address + size);
  }
}
