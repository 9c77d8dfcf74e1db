/** The image of Python's memory that the build made (web/snapshot.mjs), and what restoring it needs. */

import type { PyodideConfig } from "pyodide";
import { sameBytes } from "./files";

type CreateModule = NonNullable<PyodideConfig["createPyodideModule"]>;
type Settings = Parameters<CreateModule>[0];
type Module = Awaited<ReturnType<CreateModule>>;

/** The lengths of memory and wheel come first, then the wheel, then the memory (gzip). */
const HEADER_BYTES = 8;

/** An image notes that Python can wait for promises, so it serves only browsers in which it can. */
const canRestore = "Suspending" in WebAssembly;

/** Where CPython keeps the function through which it calls C functions of any signature. */
interface Trampoline {
  readonly HEAP32: Int32Array;
  readonly __PyRuntime: number;
  readonly __PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET: number;
}

function trampolineIndex({ HEAP32, __PyRuntime, __PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET }: Trampoline): number {
  const offset = HEAP32[__PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET >>> 2] ?? 0;
  return (__PyRuntime + offset) >>> 2;
}

async function unpack(packed: Uint8Array<ArrayBuffer>, memory: Uint8Array): Promise<void> {
  const chunks = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  let filled = 0;
  for await (const chunk of chunks) {
    memory.set(chunk, filled);
    filled += chunk.length;
  }
}

/** An image that fits our wheel. It unpacks while Pyodide's code compiles. */
export class Image {
  private restoreTrampoline = (): void => undefined;
  private constructor(private readonly memory: Uint8Array, private readonly unpacked: Promise<void>) {}

  /** The image, or null where there is none, one of another wheel, or no way to use it. */
  static async of(response: Response, wheel: Uint8Array): Promise<Image | null> {
    if (!canRestore || !response.ok) return null;
    const bytes = new Uint8Array(await response.arrayBuffer());
    const header = new DataView(bytes.buffer);
    const end = HEADER_BYTES + header.getUint32(4, true);
    if (!sameBytes(bytes.subarray(HEADER_BYTES, end), wheel)) return null;
    const memory = new Uint8Array(header.getUint32(0, true));
    return new Image(memory, unpack(bytes.subarray(end), memory));
  }

  /** What makes Pyodide start from this image. */
  config(create: (settings: Settings) => Promise<Module & Trampoline>): Partial<PyodideConfig> {
    return {
      _loadSnapshot: this.memory, // its length is asked for at once, its content after the module
      createPyodideModule: async (settings) => {
        const [module] = await Promise.all([create(settings), this.unpacked]);
        const index = trampolineIndex(module);
        const own = module.HEAP32[index] ?? 0;
        this.restoreTrampoline = () => void (module.HEAP32[index] = own);
        return module;
      },
    };
  }

  /** The image brought the trampoline of the machine that made it; this browser needs its own. */
  finish(): void {
    this.restoreTrampoline();
  }
}
