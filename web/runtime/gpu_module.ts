/** The module `tensorbrook_page.gpu` of Python: see backends/webgpu/host_page.py. */

import type { OpenedGpu } from "./gpu_adapter";
import type { AsyncResult, PollableResult } from "./gpu_host";
import { parseTriples } from "./gpu_ranges";
import { copyBytes, withBytes, type PyBuffer } from "./py_buffer";

/**
 * A result that Python can await. A promise is wrapped because Pyodide would convert a returned
 * promise to a future; an interrupt in the future's Python code would leave the script asleep.
 */
type PyAwaitable = PollableResult<unknown> | { readonly promise: Promise<unknown> };

const toAwaitable = (result: AsyncResult<unknown>): PyAwaitable =>
  result instanceof Promise ? { promise: result } : result;

/** The GPU's calls with arguments and results that Python can handle, or why there is no GPU. */
export function gpuModule(gpu: OpenedGpu): object {
  if ("reason" in gpu) return { reason: gpu.reason };
  return {
    reason: null,
    info: (): string => JSON.stringify(gpu.info),
    calls: (): number => gpu.calls,
    counters: (): PyAwaitable => toAwaitable(gpu.counters()),
    lost: (): string => gpu.lost() ?? "",
    createBuffer: (size: number): number => gpu.createBuffer(size),
    freeBuffer: (buffer: number): void => gpu.freeBuffer(buffer),
    write: (buffer: number, data: PyBuffer): void =>
      withBytes(data, (bytes) => gpu.write(buffer, bytes)),
    read: (...ranges: number[]): PyAwaitable => toAwaitable(gpu.read(parseTriples(ranges))),
    load: (commands: PyBuffer): PyAwaitable => toAwaitable(gpu.load(copyBytes(commands))),
    unload: (program: number): void => gpu.unload(program),
    isQueueFull: (): boolean => gpu.isQueueFull(),
    waitForSlot: (): PyAwaitable => toAwaitable(gpu.waitForSlot()),
    run: (program: number, numCopies: number, ...copiesAndBuffers: number[]): void => {
      const buffers = copiesAndBuffers.splice(3 * numCopies);
      gpu.run(program, buffers, parseTriples(copiesAndBuffers));
    },
    flushErrors: (): PyAwaitable => toAwaitable(gpu.flushErrors()),
    reopen: (): PyAwaitable => toAwaitable(gpu.reopen()),
    destroy: (): void => gpu.destroy(),
  };
}
