/** One thread of the peak rate loops. Times are since the epoch, comparable across workers. */

export type Loop = "multiply_add" | "copy";

/** The time that a request took. */
export interface Span {
  readonly begin: number;
  readonly end: number;
}

type Request =
  | { readonly module: Uint8Array<ArrayBuffer> }
  | { readonly loop: Loop; readonly count: number; readonly size: number };

const PAGES = 2049; // 64 MiB to read, 64 MiB to write, and a page for results
const now = (): number => performance.timeOrigin + performance.now();

const memory = new WebAssembly.Memory({ initial: PAGES });
let loops: WebAssembly.Exports | null = null;

addEventListener("message", ({ data }: MessageEvent<Request>) => {
  const begin = now();
  if ("module" in data) {
    const module = new WebAssembly.Module(data.module);
    loops = new WebAssembly.Instance(module, { env: { memory } }).exports;
  } else {
    const loop = loops?.[data.loop];
    if (typeof loop !== "function") throw new Error(`there is no loop ${data.loop}`);
    loop(data.count, data.size);
  }
  postMessage({ begin, end: now() } satisfies Span);
});
