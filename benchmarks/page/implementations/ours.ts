/** Tensorbrook, as its users have it: Python in the real page runtime, which times its own loop. */

import { array, type Arrays, type Contender, type Ready, type Workload } from "../workload";

/** What a page of the runtime offers to whoever drives it (web/runtime/automation_api.ts). */
interface Page extends Window {
  readonly tensorbrook?: {
    readonly runtime: {
      boot(): Promise<unknown>;
      run(source: string, options: { readonly files?: readonly File[] }): Promise<RunResult>;
    };
  };
}

interface File {
  readonly path: string;
  readonly bytes: Uint8Array;
}

interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly error: string | null;
}

type Runtime = NonNullable<Page["tensorbrook"]>["runtime"];

/** The runtime's own bare page, in a frame of this one. */
async function open(threads: number): Promise<Runtime> {
  const frame = document.createElement("iframe");
  frame.src = `/run.html?threads=${threads}`;
  const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
  document.body.append(frame);
  await loaded;
  const page: Page | null = frame.contentWindow;
  if (!page?.tensorbrook) throw new Error("the runtime's page has no tensorbrook; build it again");
  return page.tensorbrook.runtime;
}

/** Run a script and read the JSON that it prints last. */
async function evaluate(
  runtime: Runtime, source: string, files: readonly File[] = [],
): Promise<unknown> {
  const { stdout, stderr, error } = await runtime.run(source, { files });
  if (error !== null) throw new Error(`${stderr}${error}`);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "null");
}

/** The arrays one after the other, as ours/bench.py reads them. */
function packed(arrays: Arrays): Uint8Array {
  const parts = [...arrays.keys()].map((name) => {
    const { data } = array(arrays, name);
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  });
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}

const numbers = (value: unknown): number[] => {
  if (!Array.isArray(value)) throw new Error(`Python answered ${JSON.stringify(value)}`);
  return value.map(Number);
};

/** Which of our programs a workload runs: `tf` by default. */
export type Flavour = "tf" | "keras";

export class Ours implements Contender {
  private constructor(private readonly runtime: Runtime, private readonly flavour: Flavour) {}

  /** `sources` are the files of benchmarks/ours by name; bench.py is the one that is called. */
  static async start(threads: number, sources: Readonly<Record<string, string>>): Promise<Ours> {
    const runtime = await open(threads);
    await runtime.boot();
    const files = Object.entries(sources).map(([path, text]) => (
      { path: `sources/benchmarks/ours/${path}`, bytes: new TextEncoder().encode(text) }));
    await evaluate(runtime, KEEP, files);
    return new Ours(runtime, "tf");
  }

  with(flavour: Flavour): Ours {
    return new Ours(this.runtime, flavour);
  }

  /** Run a line of Python that has the benchmark's modules at hand, and return what it prints. */
  python(line: string, files: readonly File[] = []): Promise<unknown> {
    return evaluate(this.runtime, `import json\nfrom benchmarks.ours import bench\n${line}`, files);
  }

  async prepare(workload: Workload, arrays: Arrays): Promise<Ready> {
    const request = JSON.stringify({ ...workload, flavour: this.flavour });
    const files = [
      { path: "request.json", bytes: new TextEncoder().encode(request) },
      { path: "arrays.bin", bytes: packed(arrays) },
    ];
    const check = await this.python("print(json.dumps(bench.prepare()))", files);
    const name = JSON.stringify(`${workload.name} ${this.flavour}`);
    return {
      check: numbers(check),
      turn: async (steps) => Number(await this.python(`print(bench.turn(${name}, ${steps}))`)),
      dispose: async () => void (await this.python(`bench.drop(${name})\nprint("null")`)),
    };
  }
}

/** Scripts forget the modules of their own folder, so these are imported from another. */
const KEEP = `
import importlib, shutil, sys, tempfile
folder = tempfile.mkdtemp()
shutil.copytree("sources", folder, dirs_exist_ok=True)
sys.path.append(folder)
importlib.import_module("benchmarks.ours.bench")
print("null")
`;
