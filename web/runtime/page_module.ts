/** What Python imports as `tensorbrook_page`: the engine's host, and the way out for events. */

import type { FromWorker, SessionEvent } from "../protocol";
import type { Engine } from "./engine";
import type { OpenedGpu } from "./gpu_adapter";
import { gpuModule } from "./gpu_module";
import type { KeptPrograms } from "./program_cache";
import { copyOf, type PyBuffer } from "./py_buffer";


export function pageModule(
  engine: Engine, gpu: OpenedGpu, kept: KeptPrograms, hold: (held: boolean) => void,
  post: (message: FromWorker) => void,
): object {
  return {
    threads: engine.threads,
    relaxed: engine.relaxed,
    shared: engine.shared,
    heapBase: engine.heapBase,
    calls: (): number => engine.calls,
    grow: (size: number): boolean => engine.grow(size),
    load: (program: PyBuffer): number => engine.load(copyOf(program)),
    unload: (program: number): void => engine.unload(program),
    run: (program: number, block: number, ...slots: number[]): void =>
      engine.run(program, block, ...slots),
    view: (address: number, size: number): Uint8Array => engine.view(address, size),
    gpu: gpuModule(gpu),
    hold,
    recall: (key: string): Uint8Array | undefined => kept.get(key),
    keep: (key: string, image: PyBuffer): void => kept.put(key, copyOf(image)),
    post(kind: "session", json: string): void {
      const event: SessionEvent = JSON.parse(json);
      post({ kind, event });
    },
  };
}
