/** The page's client of the runtime worker: starts and restarts it, runs and stops scripts. */

import type {
  Capabilities, EngineBuild, FileEntry, FromWorker, GpuTransport, SessionCommand, ToWorker,
} from "../protocol";
import { ControlSender, newControlBuffer } from "./control";
import { sharedMemoryProblem } from "./features";
import RuntimeWorker from "./worker?worker";
import { takeWorkerError } from "./worker_errors";

export interface RuntimeOptions {
  readonly threads?: number | null;
  readonly backend?: string | null;
  readonly engine?: EngineBuild | null;
  readonly gpu?: GpuTransport | null;
}

export interface RunOptions {
  readonly filename?: string;
  readonly argv?: readonly string[];
  readonly files?: readonly FileEntry[];
  readonly onStdout?: (text: string) => void;
  readonly onStderr?: (text: string) => void;
}

export interface RunResult {
  /** The output that no listener received. A script may print for hours: it is not stored twice. */
  readonly stdout: string;
  readonly stderr: string;
  /** The traceback of an uncaught exception, or null. */
  readonly error: string | null;
  readonly exit_code: number;
  /** Files that the script created or changed. */
  readonly files: readonly FileEntry[];
}

/**
 * An event of the runtime: a message of the worker, a restart of the worker, or the report that a
 * worker has been silent during its boot; it may still become ready.
 */
export type RuntimeEvent =
  | FromWorker
  | { readonly kind: "restarting"; readonly reason: string }
  | { readonly kind: "stalled"; readonly message: string };

/** The longest stage of a boot takes two seconds, but a slow connection takes longer. */
const BOOT_SILENCE_MS = 30_000;

const STALLED = `Python has not answered for ${BOOT_SILENCE_MS / 1000} seconds. If the connection ` +
  "is slow, wait; otherwise reload the page.";

/** A script that ignores an interrupt for this long (in a JavaScript wait, say) is terminated. */
const INTERRUPT_GRACE_MS = 3000;

type Outcome = Omit<RunResult, "stdout" | "stderr">;

const outcomeWithoutFiles = (error: string, exit_code: number): Outcome =>
  ({ error, exit_code, files: [] });

const STOPPED = outcomeWithoutFiles("KeyboardInterrupt: stopped by the page", 130);

class Run {
  stdout = "";
  stderr = "";
  private readonly completion = Promise.withResolvers<RunResult>();
  readonly result = this.completion.promise;
  constructor(readonly id: number, readonly options: RunOptions) {}

  write(kind: "stdout" | "stderr", text: string): void {
    const listener = kind === "stdout" ? this.options.onStdout : this.options.onStderr;
    if (listener) listener(text);
    else this[kind] += text;
  }

  complete(outcome: Outcome): void {
    this.completion.resolve({ stdout: this.stdout, stderr: this.stderr, ...outcome });
  }

  /** Reject the result of a run that could not start. */
  fail(error: unknown): void {
    this.completion.reject(error);
  }
}

/** A runtime worker, the control words it shares with the page, and the promise of its boot. */
class WorkerHandle {
  readonly worker = new RuntimeWorker({ name: "tensorbrook" });
  readonly control = sharedMemoryProblem(crossOriginIsolated) === null ? newControlBuffer() : null;
  readonly sender = this.control === null ? null : new ControlSender(this.control);
  readonly ready = Promise.withResolvers<Capabilities>();

  private silence = 0;

  constructor(
    options: RuntimeOptions, receive: (message: FromWorker) => void, fail: (reason: string) => void,
    private readonly onStall: () => void,
  ) {
    this.worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      this.watch(data);
      receive(data);
    };
    this.worker.onerror = (event) => {
      clearTimeout(this.silence);
      fail(takeWorkerError(event));
    };
    this.silence = setTimeout(onStall, BOOT_SILENCE_MS);
    this.ready.promise.catch(() => undefined); // callers of boot() handle the rejection
    const base = new URL("./", location.href).href;
    const { threads = null, backend = null, engine = null, gpu = null } = options;
    const { control } = this;
    this.post({ kind: "boot", options: { base, threads, backend, engine, gpu, control } });
  }

  post(message: ToWorker): void {
    this.worker.postMessage(message);
  }

  terminate(): void {
    clearTimeout(this.silence);
    this.worker.terminate();
  }

  /** After each stage of the boot, wait for the next message. */
  private watch(message: FromWorker): void {
    if (message.kind === "ready" || message.kind === "boot-failed") clearTimeout(this.silence);
    if (message.kind !== "booting") return;
    clearTimeout(this.silence);
    this.silence = setTimeout(this.onStall, BOOT_SILENCE_MS);
  }
}

export class Runtime {
  private readonly listeners = new Set<(event: RuntimeEvent) => void>();
  private handle: WorkerHandle | null = null;
  private currentRun: Run | null = null;
  private queue: Promise<unknown> = Promise.resolve();
  private runCount = 0;
  private booted = false;

  constructor(private readonly options: RuntimeOptions = {}) {
    addEventListener("pagehide", () => this.onPageHide());
  }

  /** Subscribe to all events of the runtime; returns the function that unsubscribes. */
  onEvent(listener: (event: RuntimeEvent) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Start the worker if it is not running; resolves when Python is ready. */
  boot(): Promise<Capabilities> {
    this.handle ??= this.startWorker();
    return this.handle.ready.promise;
  }

  /** Run a script as `python script.py` would, after all scripts that are already queued. */
  run(source: string, options: RunOptions = {}): Promise<RunResult> {
    const result = this.queue.then(() => this.startRun(source, options));
    this.queue = result.catch(() => undefined);
    return result;
  }

  session(command: SessionCommand): void {
    void this.boot();
    this.handle?.post({ kind: "session", command });
  }

  /** Interrupt the running script at once, or restart the runtime where that is impossible. */
  stop(): void {
    const run = this.currentRun;
    if (run === null) return;
    if (!this.booted) return this.completeRun(STOPPED);
    const sender = this.handle?.sender;
    if (!sender) return this.restart("this page has no shared memory", STOPPED);
    sender.interrupt();
    this.handle?.post({ kind: "stop", id: run.id });
    setTimeout(() => {
      if (this.currentRun === run) this.restart("the script ignored the interrupt", STOPPED);
    }, INTERRUPT_GRACE_MS);
  }

  /** Terminate the worker and its threads, with all that runs in them. */
  dispose(outcome: Outcome = STOPPED): void {
    this.handle?.terminate();
    this.handle = null;
    this.booted = false;
    this.completeRun(outcome);
  }

  private startWorker(): WorkerHandle {
    // Messages of an earlier, terminated worker may still arrive and must be ignored.
    const handle: WorkerHandle = new WorkerHandle(
      this.options,
      (message) => { if (this.handle === handle) this.receive(message); },
      (reason) => { if (this.handle === handle) this.onWorkerError(reason); },
      () => { if (this.handle === handle) this.emit({ kind: "stalled", message: STALLED }); });
    return handle;
  }

  private startRun(source: string, options: RunOptions): Promise<RunResult> {
    const run = new Run(++this.runCount, options);
    this.currentRun = run;
    this.boot().then(() => this.postRun(run, source), (error) => this.rejectRun(run, error));
    return run.result;
  }

  private postRun(run: Run, source: string): void {
    if (this.currentRun !== run) return; // stopped before Python was ready
    const { filename = "main.py", argv = [], files = [] } = run.options;
    this.handle?.post({ kind: "run", id: run.id, script: { source, filename, argv, files } });
  }

  private rejectRun(run: Run, error: unknown): void {
    if (this.currentRun === run) this.currentRun = null;
    run.fail(error);
  }

  /** Handle an uncaught error of the worker. A worker that never booted is not restarted. */
  private onWorkerError(reason: string): void {
    const failure = `Python crashed: ${reason}`;
    if (this.booted) this.restart(failure, outcomeWithoutFiles(failure, 1));
    else this.receive({ kind: "boot-failed", message: reason });
  }

  private restart(reason: string, outcome: Outcome): void {
    this.dispose(outcome);
    this.emit({ kind: "restarting", reason });
    void this.boot();
  }

  /** Stop computing in a page that was left, also while the browser caches it for a return. */
  private onPageHide(): void {
    if (this.handle === null) return;
    this.dispose();
    const resume = ({ persisted }: PageTransitionEvent): void => {
      if (persisted) this.restart("the browser restored the page from its cache", STOPPED);
    };
    addEventListener("pageshow", resume, { once: true });
  }

  /** The next call of boot() starts another worker. */
  private discardFailedWorker(reason: string): void {
    const { handle } = this;
    this.handle = null;
    handle?.terminate();
    handle?.ready.reject(new Error(reason));
  }

  private completeRun(outcome: Outcome): void {
    const run = this.currentRun;
    this.currentRun = null;
    run?.complete(outcome);
  }

  private emit(event: RuntimeEvent): void {
    for (const listener of this.listeners) listener(event);
  }

  private receive(message: FromWorker): void {
    switch (message.kind) {
      case "ready":
        this.booted = true;
        this.handle?.ready.resolve(message.capabilities);
        break;
      case "boot-failed":
        this.discardFailedWorker(message.message);
        break;
      case "stdout":
      case "stderr":
        this.handle?.sender?.acknowledgeOutput();
        if (message.id === this.currentRun?.id) this.currentRun.write(message.kind, message.text);
        break;
      case "finished": {
        const { error, exit_code, files } = message;
        this.handle?.sender?.clear(); // a late interrupt must not hit the next script
        this.completeRun({ error, exit_code, files });
        break;
      }
      case "booting":
      case "session":
        break;
      default:
        return message satisfies never;
    }
    this.emit(message);
  }
}
