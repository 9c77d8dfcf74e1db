/** The image of Python that the build made (web/snapshot.mjs): memory and our package's files. */

import type { PyodideAPI, PyodideConfig } from "pyodide";
import { parent, sameBytes } from "./files";

type CreateModule = NonNullable<PyodideConfig["createPyodideModule"]>;
type Settings = Parameters<CreateModule>[0];
type Module = Awaited<ReturnType<CreateModule>>;

type Bytes = Uint8Array<ArrayBuffer>;
type ByteStream = ReadableStream<Bytes>;

/** What we ask of Pyodide's module beyond what it declares. */
interface Inside {
  /** Memory taken here, before the image lies over it, only makes the whole of it larger. */
  readonly _malloc: (bytes: number) => number;
  // Where CPython keeps the function through which it calls C functions of any signature.
  readonly HEAP32: Int32Array;
  readonly __PyRuntime: number;
  readonly __PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET: number;
}

/** How many bytes of memory the image holds, and the files that follow it. */
interface Contents {
  readonly memory: number;
  readonly files: readonly (readonly [path: string, bytes: number])[];
}

/** An image notes that Python can wait for promises, so it serves only browsers in which it can. */
const canRestore = "Suspending" in WebAssembly;

function trampolineIndex(module: Inside): number {
  const offset = module.HEAP32[module.__PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET >>> 2] ?? 0;
  return (module.__PyRuntime + offset) >>> 2;
}

const GROWTH_BYTES = 1 << 20;

/** Let a new Python have at least as much memory as the image holds. */
function grow(module: Module & Inside, size: number): void {
  while (module.HEAPU8.length < size) {
    if (module._malloc(GROWTH_BYTES) === 0) {
      throw new RangeError(`this device has no ${size >>> 20} MB of memory for Python`);
    }
  }
}

/** Takes counted pieces from the front of a stream, and then its rest. */
class Front {
  private readonly reader: ReadableStreamDefaultReader<Bytes>;
  private waiting = new Uint8Array();
  constructor(stream: ByteStream) {
    this.reader = stream.getReader();
  }

  async take(length: number): Promise<Bytes> {
    const piece = new Uint8Array(length);
    for (let filled = 0; filled < length;) {
      if (this.waiting.length === 0) this.waiting = await this.next();
      const part = this.waiting.subarray(0, length - filled);
      piece.set(part, filled);
      filled += part.length;
      this.waiting = this.waiting.subarray(part.length);
    }
    return piece;
  }

  rest(): ByteStream {
    const [reader, first] = [this.reader, this.waiting];
    return new ReadableStream({
      start: (out) => out.enqueue(first),
      async pull(out) {
        const { done, value } = await reader.read();
        if (done) out.close();
        else out.enqueue(value);
      },
    });
  }

  private async next(): Promise<Bytes> {
    const { done, value } = await this.reader.read();
    if (done) throw new RangeError("the image of Python ends too soon; build the page again");
    return value;
  }
}

/** An image that fits our wheel. It unpacks while Pyodide's code compiles. */
export class Image {
  private readonly memory: Uint8Array;
  private readonly files: Promise<readonly Uint8Array[]>;
  private restoreTrampoline = (): void => undefined;

  private constructor(private readonly contents: Contents, packed: ByteStream) {
    this.memory = new Uint8Array(contents.memory);
    this.files = this.unpack(new Front(packed.pipeThrough(new DecompressionStream("gzip"))));
  }

  /** The image, or null where there is none, one of another wheel, or no way to use it. */
  static async of({ ok, body }: Response, wheel: Uint8Array): Promise<Image | null> {
    if (!canRestore || !ok || body === null) return null;
    const front = new Front(body);
    const lengths = new DataView((await front.take(8)).buffer);
    const header = await front.take(lengths.getUint32(0, true));
    if (!sameBytes(await front.take(lengths.getUint32(4, true)), wheel)) return null;
    const contents: Contents = JSON.parse(new TextDecoder().decode(header));
    return new Image(contents, front.rest());
  }

  /** What makes Pyodide start from this image. */
  config(create: (settings: Settings) => Promise<Module & Inside>): Partial<PyodideConfig> {
    return {
      _loadSnapshot: this.memory, // its length is asked for at once, its content after the module
      createPyodideModule: async (settings) => {
        const [module] = await Promise.all([create(settings), this.files]);
        grow(module, this.memory.length);
        const index = trampolineIndex(module);
        const own = module.HEAP32[index] ?? 0;
        this.restoreTrampoline = () => void (module.HEAP32[index] = own);
        return module;
      },
    };
  }

  /** What Python's memory does not hold: the trampoline, which is this browser's own, and files. */
  async finish({ FS }: PyodideAPI): Promise<void> {
    this.restoreTrampoline();
    const contents = await this.files;
    this.contents.files.forEach(([path], i) => {
      FS.mkdirTree(parent(path));
      FS.writeFile(path, contents[i] ?? new Uint8Array());
    });
  }

  private async unpack(front: Front): Promise<readonly Uint8Array[]> {
    this.memory.set(await front.take(this.memory.length));
    const files: Uint8Array[] = [];
    for (const [, bytes] of this.contents.files) files.push(await front.take(bytes));
    return files;
  }
}
