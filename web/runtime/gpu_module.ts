/** What Python finds as `tensorbrook_page.gpu`: see backends/webgpu/host_page.py. */

import type { OpenedGpu } from "./gpu_adapter";
import type { Pending } from "./gpu_host";
import { copyOf, inHeap, type PyBuffer } from "./py_buffer";

/** Calls that take and give what Python knows; without a GPU only the reason is there. */
export function gpuModule(gpu: OpenedGpu): object {
  if ("reason" in gpu) return { reason: gpu.reason };
  return {
    reason: null,
    facts: (): string => JSON.stringify(gpu.facts),
    calls: (): number => gpu.calls,
    counts: (): Pending<object> => gpu.counts(),
    lost: (): string => gpu.lost() ?? "",
    create: (size: number): number => gpu.create(size),
    free: (buffer: number): void => gpu.free(buffer),
    write: (buffer: number, data: PyBuffer): void =>
      inHeap(data, (bytes) => gpu.write(buffer, bytes)),
    read: (buffer: number, size: number): Pending<Uint8Array> => gpu.read(buffer, size),
    copy: (source: number, target: number, size: number): void => gpu.copy(source, target, size),
    load: (image: PyBuffer): Pending<number> => gpu.load(copyOf(image)),
    unload: (program: number): void => gpu.unload(program),
    full: (): boolean => gpu.full(),
    room: (): Pending<null> => gpu.room(),
    run: (program: number, ...places: number[]): void => gpu.run(program, places),
    settled: (): Pending<null> => gpu.settled(),
    renew: (): Pending<null> => gpu.renew(),
    destroy: (): void => gpu.destroy(),
  };
}
