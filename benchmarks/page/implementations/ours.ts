/** Tensorbrook as a user runs it: Python in the real page runtime, which times its own loop. */

import { array, type Arrays, type Implementation, type Prepared, type Workload } from "../workload";

/** The automation interface of a runtime page (web/runtime/automation_api.ts). */
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

/** Open the runtime's page run.html in an iframe. */
async function open(threads: number): Promise<Runtime> {
  const frame = document.createElement("iframe");
  frame.src = `/run.html?threads=${threads}`;
  const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
  document.body.append(frame);
  await loaded;
  const page: Page | null = frame.contentWindow;
  if (!page?.tensorbrook) {
    throw new Error("run.html has no tensorbrook; rebuild it with build_scripts/build.py");
  }
  return page.tensorbrook.runtime;
}

/** Run a script; returns the JSON in its last printed line. */
async function evaluate(
  runtime: Runtime, source: string, files: readonly File[] = [],
): Promise<unknown> {
  const { stdout, stderr, error } = await runtime.run(source, { files });
  if (error !== null) throw new Error(`${stderr}${error}`);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "null");
}

/** The concatenated bytes of the arrays, as ours/step_runner.py reads them. */
function pack(arrays: Arrays): Uint8Array {
  const parts = [...arrays.keys()].map((name) => {
    const { data } = array(arrays, name);
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  });
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}

const toNumbers = (value: unknown): number[] => {
  if (!Array.isArray(value)) throw new Error(`Python printed ${JSON.stringify(value)}`);
  return value.map(Number);
};

/** The API that the program of a workload uses. */
export type Api = "tf" | "keras";

export class Ours implements Implementation {
  private constructor(private readonly runtime: Runtime, private readonly api: Api) {}

  /** `sources` are the files of benchmarks/ours by name. */
  static async start(threads: number, sources: Readonly<Record<string, string>>): Promise<Ours> {
    const runtime = await open(threads);
    await runtime.boot();
    const files = Object.entries(sources).map(([path, text]) => (
      { path: `sources/benchmarks/ours/${path}`, bytes: new TextEncoder().encode(text) }));
    await evaluate(runtime, INSTALL, files);
    return new Ours(runtime, "tf");
  }

  with(api: Api): Ours {
    return new Ours(this.runtime, api);
  }

  /** Run a line of Python after an import of `step_runner`; returns the JSON that it prints. */
  python(line: string, files: readonly File[] = []): Promise<unknown> {
    const source = `import json\nfrom benchmarks.ours import step_runner\n${line}`;
    return evaluate(this.runtime, source, files);
  }

  async prepare(workload: Workload, arrays: Arrays): Promise<Prepared> {
    const request = JSON.stringify({ ...workload, api: this.api });
    const files = [
      { path: "request.json", bytes: new TextEncoder().encode(request) },
      { path: "arrays.bin", bytes: pack(arrays) },
    ];
    const check = await this.python("print(json.dumps(step_runner.prepare()))", files);
    const name = JSON.stringify(`${workload.name} ${this.api}`);
    return {
      check: toNumbers(check),
      runSteps: async (steps) =>
        Number(await this.python(`print(step_runner.run_steps(${name}, ${steps}))`)),
      dispose: async () => void (await this.python(`step_runner.drop(${name})\nprint("null")`)),
    };
  }
}

/** Imports the modules from another folder, because a script unloads those of its own folder. */
const INSTALL = `
import importlib, shutil, sys, tempfile
folder = tempfile.mkdtemp()
shutil.copytree("sources", folder, dirs_exist_ok=True)
sys.path.append(folder)
importlib.import_module("benchmarks.ours.step_runner")
print("null")
`;
