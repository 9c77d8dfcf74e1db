/** The programs of one thread: instances that use the engine's memory, in the engine's table. */

import { requireFunction, requireTable, type WasmFunction } from "./exports";

/** Milliseconds on a clock that all workers share, for programs that time their steps. */
const now = (): number => performance.timeOrigin + performance.now();

export class ProgramTable {
  private readonly table: WebAssembly.Table;
  private readonly imports: WebAssembly.Imports;
  private readonly freeSlots: number[] = [];

  constructor(engine: WebAssembly.Instance, memory: WebAssembly.Memory) {
    this.table = requireTable(engine, "__indirect_function_table");
    this.imports = { env: { memory }, engine: engine.exports, host: { now } };
  }

  /** Reserve a slot for a program. Only the main thread does; helper threads use the same slots. */
  allocateSlot(): number {
    return this.freeSlots.pop() ?? this.table.grow(1);
  }

  /** Release a program. Helper threads release theirs when the slot is reused. */
  freeSlot(slot: number): void {
    this.table.set(slot, null);
    this.freeSlots.push(slot);
  }

  instantiate(bytes: Uint8Array<ArrayBuffer>): WasmFunction {
    const module = new WebAssembly.Module(bytes);
    return requireFunction(new WebAssembly.Instance(module, this.imports), "run");
  }

  install(slot: number, run: WasmFunction): void {
    if (slot >= this.table.length) this.table.grow(slot + 1 - this.table.length);
    this.table.set(slot, run);
  }
}
