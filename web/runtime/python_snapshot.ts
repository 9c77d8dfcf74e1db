/**
 * The Python snapshot: memory of an interpreter with the package imported, and the package's files.
 * The build makes it (web/make_python_snapshot.mjs).
 */

import type { PyodideAPI, PyodideConfig } from "pyodide";
import { equalBytes, parentFolder } from "./files";
import { canSwitchStacks } from "./python";

type CreatePublicModule = NonNullable<PyodideConfig["createPyodideModule"]>;
type ModuleSettings = Parameters<CreatePublicModule>[0];
type Module = Awaited<ReturnType<CreatePublicModule>>;

type Bytes = Uint8Array<ArrayBuffer>;
type ByteStream = ReadableStream<Bytes>;

/** Members of Pyodide's module that its types do not declare. */
interface PyodideInternals {
  /** Called only to grow the memory, which the snapshot then overwrites. */
  readonly _malloc: (bytes: number) => number;
  // The location of CPython's trampoline, the function that calls C functions of any signature.
  readonly HEAP32: Int32Array;
  readonly __PyRuntime: number;
  readonly __PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET: number;
}

/** Creates Pyodide's module: the export of pyodide.asm.mjs. */
export type CreateModule = (settings: ModuleSettings) => Promise<Module & PyodideInternals>;

/** The size of the memory in the snapshot, and the files that follow it. */
interface SnapshotHeader {
  readonly memory: number;
  readonly files: readonly (readonly [path: string, bytes: number])[];
}

function trampolineIndex(module: PyodideInternals): number {
  const offset = module.HEAP32[module.__PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET >>> 2] ?? 0;
  return (module.__PyRuntime + offset) >>> 2;
}

const GROWTH_STEP_BYTES = 1 << 20;

/** Grow the memory of a new interpreter to at least the snapshot's size. */
function growMemory(module: Module & PyodideInternals, size: number): void {
  while (module.HEAPU8.length < size) {
    if (module._malloc(GROWTH_STEP_BYTES) === 0) {
      throw new RangeError(`this device has no ${size >>> 20} MB of memory for Python`);
    }
  }
}

/** Reads chunks of given lengths from a stream, and then its remainder. */
class StreamReader {
  private readonly reader: ReadableStreamDefaultReader<Bytes>;
  private buffered = new Uint8Array();
  constructor(stream: ByteStream) {
    this.reader = stream.getReader();
  }

  async readExactly(length: number): Promise<Bytes> {
    const bytes = new Uint8Array(length);
    for (let filled = 0; filled < length;) {
      if (this.buffered.length === 0) this.buffered = await this.nextChunk();
      const part = this.buffered.subarray(0, length - filled);
      bytes.set(part, filled);
      filled += part.length;
      this.buffered = this.buffered.subarray(part.length);
    }
    return bytes;
  }

  remaining(): ByteStream {
    const [reader, first] = [this.reader, this.buffered];
    return new ReadableStream({
      start: (out) => out.enqueue(first),
      async pull(out) {
        const { done, value } = await reader.read();
        if (done) out.close();
        else out.enqueue(value);
      },
    });
  }

  private async nextChunk(): Promise<Bytes> {
    const { done, value } = await this.reader.read();
    if (done) throw new RangeError("the Python snapshot is truncated; build the page again");
    return value;
  }
}

/** A snapshot that matches the wheel. It is decompressed while Pyodide's code compiles. */
export class PythonSnapshot {
  private readonly memory: Uint8Array;
  private readonly files: Promise<readonly Uint8Array[]>;
  private restoreTrampoline = (): void => undefined;

  private constructor(private readonly header: SnapshotHeader, compressed: ByteStream) {
    this.memory = new Uint8Array(header.memory);
    const content = compressed.pipeThrough(new DecompressionStream("gzip"));
    this.files = this.unpack(new StreamReader(content));
  }

  /** Open the snapshot; null if it is missing, of another wheel, or unusable in this browser. */
  static async open({ ok, body }: Response, wheel: Uint8Array): Promise<PythonSnapshot | null> {
    // A snapshot records that JSPI is available, so only browsers with JSPI can use it.
    if (!canSwitchStacks || !ok || body === null) return null;
    const reader = new StreamReader(body);
    const lengths = new DataView((await reader.readExactly(8)).buffer);
    const headerBytes = await reader.readExactly(lengths.getUint32(0, true));
    if (!equalBytes(await reader.readExactly(lengths.getUint32(4, true)), wheel)) return null;
    const header: SnapshotHeader = JSON.parse(new TextDecoder().decode(headerBytes));
    return new PythonSnapshot(header, reader.remaining());
  }

  /** The options with which Pyodide starts from this snapshot. */
  pyodideConfig(create: CreateModule): Partial<PyodideConfig> {
    return {
      // Pyodide reads the length at once, but the content only after it has created the module.
      _loadSnapshot: this.memory,
      createPyodideModule: async (settings) => {
        const [module] = await Promise.all([create(settings), this.files]);
        growMemory(module, this.memory.length);
        const index = trampolineIndex(module);
        const current = module.HEAP32[index] ?? 0;
        this.restoreTrampoline = () => void (module.HEAP32[index] = current);
        return module;
      },
    };
  }

  /** Restore the state outside of Python's memory: this browser's trampoline, and the files. */
  async restore({ FS }: PyodideAPI): Promise<void> {
    this.restoreTrampoline();
    const files = await this.files;
    this.header.files.forEach(([path], i) => {
      FS.mkdirTree(parentFolder(path));
      FS.writeFile(path, files[i] ?? new Uint8Array());
    });
  }

  private async unpack(reader: StreamReader): Promise<readonly Uint8Array[]> {
    this.memory.set(await reader.readExactly(this.memory.length));
    const files: Uint8Array[] = [];
    for (const [, bytes] of this.header.files) files.push(await reader.readExactly(bytes));
    return files;
  }
}
