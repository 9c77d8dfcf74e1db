/** The programs of one thread: instances over the engine's memory, kept in the engine's table. */

import { callable, table, type Callable } from "./exports";

/** Milliseconds on the same clock in every worker, for programs that tell how long steps take. */
const now = (): number => performance.timeOrigin + performance.now();

export class Programs {
  private readonly table: WebAssembly.Table;
  private readonly imports: WebAssembly.Imports;
  private readonly free: number[] = [];

  constructor(engine: WebAssembly.Instance, memory: WebAssembly.Memory) {
    this.table = table(engine, "__indirect_function_table");
    this.imports = { env: { memory }, engine: engine.exports, host: { now } };
  }

  /** A slot for the next program. A helper follows the main thread and never asks. */
  take(): number {
    return this.free.pop() ?? this.table.grow(1);
  }

  /** Let a program go. A helper drops its own instance when the slot is filled again. */
  release(slot: number): void {
    this.table.set(slot, null);
    this.free.push(slot);
  }

  instantiate(bytes: Uint8Array<ArrayBuffer>): Callable {
    const module = new WebAssembly.Module(bytes);
    return callable(new WebAssembly.Instance(module, this.imports), "run");
  }

  place(slot: number, run: Callable): void {
    if (slot >= this.table.length) this.table.grow(slot + 1 - this.table.length);
    this.table.set(slot, run);
  }
}
