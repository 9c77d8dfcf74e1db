/** The runtime worker: boots engine and Python concurrently, then handles the page's messages. */

import type { PyodideAPI } from "pyodide";
import type {
  BootOptions, BootStage, Capabilities, EngineBuild, FromWorker, Script, SessionCommand, ToWorker,
} from "../protocol";
import { Console } from "./console";
import { ControlReceiver } from "./control";
import { Engine, HelperThreadError } from "./engine";
import {
  chooseBuild, chooseThreadCount, isThreaded, probeFeatures, sharedMemoryProblem, withoutThreads,
} from "./features";
import { gpuReport, openGpu, type OpenedGpu } from "./gpu_adapter";
import { pageModule } from "./page_module";
import { ProgramCache } from "./program_cache";
import { fetchBuildOutput, fetchWheel, startPython } from "./pyodide";
import { callPython, canSwitchStacks, Python } from "./python";

const post = (message: FromWorker): void => postMessage(message);

/** The message of an error; of a Python traceback, which a PythonError contains, the last line. */
function errorSentence(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.startsWith("Traceback ") ? text.trimEnd().split("\n").at(-1) ?? text : text;
}

/** How long to wait for the GPU after Python has started: if it is requested, and otherwise. */
const REQUIRED_GPU_TIMEOUT_MS = 20_000;
const OPTIONAL_GPU_TIMEOUT_MS = 500;

/** The engine, and why it runs on one thread although several are possible, or null. */
interface StartedEngine {
  readonly engine: Engine;
  readonly threadProblem: string | null;
}

async function startBuild(
  { base, threads }: BootOptions, build: EngineBuild, threadProblem: string | null,
): Promise<StartedEngine> {
  const response = fetchBuildOutput(`${base}engine/engine-${build}.wasm`);
  const module = await WebAssembly.compileStreaming(response);
  const threadCount = chooseThreadCount(build, threads, navigator.hardwareConcurrency);
  return { engine: await Engine.start(module, build, threadCount), threadProblem };
}

/** Start the build that the browser supports; without threads if a helper thread does not start. */
async function startEngine(options: BootOptions): Promise<StartedEngine> {
  const features = probeFeatures(crossOriginIsolated);
  const build = options.engine ?? chooseBuild(features);
  const notChosen = isThreaded(build) ? null : "its address selects an engine without threads";
  try {
    return await startBuild(options, build, features.threadProblem ?? notChosen);
  } catch (error) {
    if (!(error instanceof HelperThreadError)) throw error;
    return startBuild(options, withoutThreads(build), error.message);
  }
}

/** Records the milliseconds from the worker's start to the end of each boot stage. */
class BootTimer {
  readonly bootMs: Record<BootStage, number> = { python: 0, engine: 0, package: 0 };
  mark(stage: BootStage): void {
    this.bootMs[stage] = Math.round(performance.now());
  }
  async time<T>(stage: BootStage, work: Promise<T>): Promise<T> {
    const result = await work;
    this.mark(stage);
    return result;
  }
}

/** Open the GPU, but do not delay the boot for it: give up some time after Python has started. */
function startGpu({ gpu, backend }: BootOptions, python: Promise<unknown>): Promise<OpenedGpu> {
  const timedOut = { reason: "the browser did not open it in time; reload the page" };
  const timeoutMs = backend === "webgpu" ? REQUIRED_GPU_TIMEOUT_MS : OPTIONAL_GPU_TIMEOUT_MS;
  const canShareMemory = sharedMemoryProblem(crossOriginIsolated) === null;
  const opened = openGpu(gpu, { canSwitchStacks, canShareMemory })
    .catch((error: unknown) => ({ reason: errorSentence(error) }));
  const timeout = python.then(() => new Promise<OpenedGpu>((resolve) =>
    setTimeout(() => resolve(timedOut), timeoutMs)));
  return Promise.race([opened, timeout]);
}

/** Connect Python with the engine, import the package, and return the runtime's properties. */
async function connect(
  pyodide: PyodideAPI, python: Python, { engine, threadProblem }: StartedEngine, gpu: OpenedGpu,
  programCache: ProgramCache, backend: string | null,
): Promise<Omit<Capabilities, "fromSnapshot" | "bootMs">> {
  const deferInterrupts = (begin: boolean): void => python.deferInterrupts(begin);
  const module = pageModule(engine, gpu, programCache, deferInterrupts, post);
  pyodide.registerJsModule("tensorbrook_page", module);
  const tensorbrook = pyodide.pyimport("tensorbrook");
  if (backend !== null) await callPython(tensorbrook.config.set_backend, backend);
  return {
    backend: tensorbrook.config.get_backend(),
    threads: tensorbrook.config.get_threads(),
    isolated: crossOriginIsolated,
    engine: engine.build,
    threadProblem,
    gpu: gpuReport(gpu),
    version: tensorbrook.__version__,
  };
}

/** Start Python and the engine concurrently, then import the package. */
async function boot(options: BootOptions): Promise<Python> {
  const timer = new BootTimer();
  const control = options.control === null ? null : new ControlReceiver(options.control);
  post({ kind: "booting", stage: "python" });
  const wheel = fetchWheel(options.base);
  const pythonStarted = timer.time("python", startPython(options.base, wheel));
  const [{ pyodide, fromSnapshot }, engine, gpu, programCache] = await Promise.all([
    pythonStarted,
    timer.time("engine", startEngine(options)),
    startGpu(options, pythonStarted),
    ProgramCache.open(options.base, wheel),
  ]);
  post({ kind: "booting", stage: "package" });
  const python = new Python(pyodide, new Console(post, control), control);
  const capabilities = await connect(pyodide, python, engine, gpu, programCache, options.backend);
  timer.mark("package");
  post({ kind: "ready", capabilities: { ...capabilities, fromSnapshot, bootMs: timer.bootMs } });
  return python;
}

async function run(python: Python, id: number, script: Script): Promise<void> {
  try {
    post({ kind: "finished", id, ...(await python.run(id, script)) });
  } catch (error) {
    // A script's exceptions are part of its outcome, so this is a crash of Python: restart it.
    post({ kind: "finished", id, error: errorSentence(error), exit_code: 1, files: [] });
    reportError(error);
  }
}

async function session(python: Python, command: SessionCommand): Promise<void> {
  try {
    await python.session(command);
  } catch (error) {
    post({ kind: "session", event: { name: "stopped", message: errorSentence(error) } });
  }
}

/** Report a promise that rejects without a handler; during the boot it counts as its failure. */
function reportRejections(python: Promise<Python>, failed: (error: unknown) => void): void {
  let booted = false;
  void python.then(() => (booted = true));
  addEventListener("unhandledrejection", ({ reason }) => {
    if (!booted) failed(reason);
  });
}

/** Handle the page's messages. Those that arrive before Python is ready wait for it, in order. */
function serve(): void {
  const { promise: python, resolve } = Promise.withResolvers<Python>();
  const failed = (error: unknown): void =>
    post({ kind: "boot-failed", message: errorSentence(error) });
  reportRejections(python, failed);
  addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
    switch (data.kind) {
      case "boot": return void boot(data.options).then(resolve, failed);
      case "run": return void python.then((p) => run(p, data.id, data.script));
      case "stop": return void python.then((p) => p.cancelAwait(data.id));
      case "session": return void python.then((p) => session(p, data.command));
      default: return data satisfies never;
    }
  });
}

serve();
