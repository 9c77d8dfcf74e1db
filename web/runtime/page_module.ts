/** The module `tensorbrook_page` of Python: engine, GPU, program cache, and posting of events. */

import type { FromWorker, SessionEvent } from "../protocol";
import type { Engine } from "./engine";
import type { OpenedGpu } from "./gpu_adapter";
import { gpuModule } from "./gpu_module";
import type { ProgramCache } from "./program_cache";
import { copyBytes, type PyBuffer } from "./py_buffer";

export function pageModule(
  engine: Engine, gpu: OpenedGpu, programCache: ProgramCache,
  deferInterrupts: (begin: boolean) => void, post: (message: FromWorker) => void,
): object {
  return {
    threads: engine.threads,
    relaxed: engine.relaxed,
    shared: engine.shared,
    heapBase: engine.heapBase,
    calls: (): number => engine.calls,
    grow: (size: number): boolean => engine.grow(size),
    load: (program: PyBuffer): number => engine.load(copyBytes(program)),
    unload: (program: number): void => engine.unload(program),
    run: (program: number, argumentBlock: number, ...slots: number[]): void =>
      engine.run(program, argumentBlock, ...slots),
    view: (address: number, size: number): Uint8Array => engine.view(address, size),
    gpu: gpuModule(gpu),
    deferInterrupts,
    getCached: (key: string): Uint8Array | undefined => programCache.get(key),
    putCached: (key: string, program: PyBuffer): void =>
      programCache.put(key, copyBytes(program)),
    post(kind: "session", json: string): void {
      const event: SessionEvent = JSON.parse(json);
      post({ kind, event });
    },
  };
}
