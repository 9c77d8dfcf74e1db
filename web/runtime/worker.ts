/** The runtime worker: boots engine and Python side by side, then serves the page's messages. */

import type { PyodideAPI } from "pyodide";
import type {
  BootOptions, BootStage, Capabilities, FromWorker, Script, SessionCommand, ToWorker,
} from "../protocol";
import { Console } from "./console";
import { ControlledWorker } from "./control";
import { Engine } from "./engine";
import { chooseBuild, chooseThreads, probe } from "./features";
import { openGpu, reportOf, type OpenedGpu } from "./gpu_adapter";
import { pageModule } from "./page_module";
import { KeptPrograms } from "./program_cache";
import { fetched, fetchWheel, startPython } from "./pyodide";
import { canSwitchStacks, entered, Python } from "./python";

const post = (message: FromWorker): void => postMessage(message);

/** One sentence: of a traceback of Python, which such an error holds, its last line. */
function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.startsWith("Traceback ") ? text.trimEnd().split("\n").at(-1) ?? text : text;
}

/** How long after Python the GPU may come: where it is asked for, and where it is not. */
const PATIENCE_MS = 20_000;
const SHORT_PATIENCE_MS = 500;

async function startEngine({ base, engine, threads }: BootOptions): Promise<Engine> {
  const build = engine ?? chooseBuild(probe(crossOriginIsolated));
  const response = fetched(`${base}engine/engine-${build}.wasm`);
  const module = await WebAssembly.compileStreaming(response);
  return Engine.start(module, build, chooseThreads(build, threads, navigator.hardwareConcurrency));
}

/** Milliseconds from the worker's start to the end of each stage, noted as the stages end. */
class Stopwatch {
  readonly boot_ms: Record<BootStage, number> = { python: 0, engine: 0, package: 0 };
  note(stage: BootStage): void {
    this.boot_ms[stage] = Math.round(performance.now());
  }
  async time<T>(stage: BootStage, work: Promise<T>): Promise<T> {
    const result = await work;
    this.note(stage);
    return result;
  }
}

/** The GPU, unless it lets Python wait for it: what has no use for it need not. */
function startGpu({ gpu, backend }: BootOptions, python: Promise<unknown>): Promise<OpenedGpu> {
  const late = { reason: "the browser did not bring it up in time; reload the page" };
  const patience = backend === "webgpu" ? PATIENCE_MS : SHORT_PATIENCE_MS;
  const opened = openGpu(gpu, { stacks: canSwitchStacks, isolated: crossOriginIsolated })
    .catch((error: unknown) => ({ reason: messageOf(error) }));
  const tooLate = python.then(() => new Promise<OpenedGpu>((resolve) =>
    setTimeout(() => resolve(late), patience)));
  return Promise.race([opened, tooLate]);
}

/** Connect Python and the engine, import the package, and say how it came up. */
async function connect(
  pyodide: PyodideAPI, python: Python, engine: Engine, gpu: OpenedGpu, kept: KeptPrograms,
  backend: string | null,
): Promise<Omit<Capabilities, "restored" | "boot_ms">> {
  const hold = (held: boolean): void => python.hold(held);
  pyodide.registerJsModule("tensorbrook_page", pageModule(engine, gpu, kept, hold, post));
  const tensorbrook = pyodide.pyimport("tensorbrook");
  if (backend !== null) await entered(tensorbrook.config.set_backend, backend);
  return {
    backend: tensorbrook.config.get_backend(),
    threads: tensorbrook.config.get_threads(),
    isolated: crossOriginIsolated,
    engine: engine.build,
    gpu: reportOf(gpu),
    version: tensorbrook.__version__,
  };
}

/** Python and the engine start side by side; the package comes when both are there. */
async function boot(options: BootOptions): Promise<Python> {
  const watch = new Stopwatch();
  const control = options.control === null ? null : new ControlledWorker(options.control);
  post({ kind: "booting", stage: "python" });
  const wheel = fetchWheel(options.base);
  const started = watch.time("python", startPython(options.base, wheel));
  const [{ pyodide, restored }, engine, gpu, kept] = await Promise.all([
    started,
    watch.time("engine", startEngine(options)),
    startGpu(options, started),
    KeptPrograms.of(options.base, wheel),
  ]);
  post({ kind: "booting", stage: "package" });
  const python = new Python(pyodide, new Console(post, control), control);
  const connected = await connect(pyodide, python, engine, gpu, kept, options.backend);
  watch.note("package");
  post({ kind: "ready", capabilities: { ...connected, restored, boot_ms: watch.boot_ms } });
  return python;
}

async function run(python: Python, id: number, script: Script): Promise<void> {
  try {
    post({ kind: "finished", id, ...(await python.run(id, script)) });
  } catch (error) {
    // What a script raises is an outcome; this is Python itself breaking. The page starts anew.
    post({ kind: "finished", id, error: messageOf(error), exit_code: 1, files: [] });
    reportError(error);
  }
}

async function session(python: Python, command: SessionCommand): Promise<void> {
  try {
    await python.session(command);
  } catch (error) {
    post({ kind: "session", event: { name: "stopped", message: messageOf(error) } });
  }
}

/** Serve the page. Messages that come before Python is ready wait for it, in order. */
function serve(): void {
  const { promise: python, resolve } = Promise.withResolvers<Python>();
  const failed = (error: unknown): void => post({ kind: "boot-failed", message: messageOf(error) });
  addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
    switch (data.kind) {
      case "boot": return void boot(data.options).then(resolve, failed);
      case "run": return void python.then((p) => run(p, data.id, data.script));
      case "stop": return void python.then((p) => p.stopWaiting(data.id));
      case "session": return void python.then((p) => session(p, data.command));
      default: return data satisfies never;
    }
  });
}

serve();
