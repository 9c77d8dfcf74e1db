/** What Python imports as `tensorbrook_page`: the engine's host, and the way out for events. */

import type { PyProxy } from "pyodide/ffi";
import type { FromWorker, SessionEvent } from "../protocol";
import type { Engine } from "./engine";
import type { KeptPrograms } from "./kept";

/** Bytes that Python handed over, copied out of its heap. */
function copyOf(data: PyBuffer): Uint8Array<ArrayBuffer> {
  const buffer = data.getBuffer("u8");
  try {
    return new Uint8Array(buffer.data);
  } finally {
    buffer.release();
  }
}

interface PyBuffer extends PyProxy {
  getBuffer(type: "u8"): { readonly data: Uint8Array; release(): void };
}

export function pageModule(
  engine: Engine, kept: KeptPrograms, post: (message: FromWorker) => void,
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
    recall: (key: string): Uint8Array | undefined => kept.get(key),
    keep: (key: string, image: PyBuffer): void => kept.put(key, copyOf(image)),
    post(kind: "session", json: string): void {
      const event: SessionEvent = JSON.parse(json);
      post({ kind, event });
    },
  };
}
