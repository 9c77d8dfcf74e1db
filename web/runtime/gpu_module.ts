/** What Python finds as `tensorbrook_page.gpu`: see backends/webgpu/host_page.py. */

import type { OpenedGpu } from "./gpu_adapter";
import type { Answer, Pending } from "./gpu_host";
import { triples } from "./gpu_ranges";
import { copyOf, inHeap, type PyBuffer } from "./py_buffer";

/**
 * What Python is handed to wait for. A promise must not be what a call returns: Pyodide would make a
 * future of it, whose Python code an interrupt could stop, and then nobody would wake the script.
 */
type Waited = Answer<unknown> | { readonly promise: Promise<unknown> };

const waited = (pending: Pending<unknown>): Waited =>
  pending instanceof Promise ? { promise: pending } : pending;

/** Calls that take and give what Python knows; without a GPU only the reason is there. */
export function gpuModule(gpu: OpenedGpu): object {
  if ("reason" in gpu) return { reason: gpu.reason };
  return {
    reason: null,
    facts: (): string => JSON.stringify(gpu.facts),
    calls: (): number => gpu.calls,
    counts: (): Waited => waited(gpu.counts()),
    lost: (): string => gpu.lost() ?? "",
    create: (size: number): number => gpu.create(size),
    free: (buffer: number): void => gpu.free(buffer),
    write: (buffer: number, data: PyBuffer): void =>
      inHeap(data, (bytes) => gpu.write(buffer, bytes)),
    read: (...pieces: number[]): Waited => waited(gpu.read(triples(pieces))),
    load: (commands: PyBuffer): Waited => waited(gpu.load(copyOf(commands))),
    unload: (program: number): void => gpu.unload(program),
    full: (): boolean => gpu.full(),
    room: (): Waited => waited(gpu.room()),
    run: (program: number, copied: number, ...numbers: number[]): void => {
      const places = numbers.splice(3 * copied);
      gpu.run(program, places, triples(numbers));
    },
    settled: (): Waited => waited(gpu.settled()),
    renew: (): Waited => waited(gpu.renew()),
    destroy: (): void => gpu.destroy(),
  };
}
