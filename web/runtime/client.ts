/** The page's side of the runtime: starts the worker, runs scripts in it, stops and restarts it. */

import type {
  Capabilities, EngineBuild, FileEntry, FromWorker, SessionCommand, ToWorker, Way,
} from "../protocol";
import { ControlPanel, newControl } from "./control";
import RuntimeWorker from "./worker?worker";

export interface RuntimeOptions {
  readonly threads?: number | null;
  readonly backend?: string | null;
  readonly engine?: EngineBuild | null;
  readonly gpu?: Way | null;
}

export interface RunOptions {
  readonly filename?: string;
  readonly argv?: readonly string[];
  readonly files?: readonly FileEntry[];
  readonly onStdout?: (text: string) => void;
  readonly onStderr?: (text: string) => void;
}

export interface RunResult {
  /** What was printed, where no listener took it: a script may print for hours. */
  readonly stdout: string;
  readonly stderr: string;
  /** The traceback of an uncaught exception, or null. */
  readonly error: string | null;
  readonly exit_code: number;
  /** Files that the script created or changed. */
  readonly files: readonly FileEntry[];
}

/** What the runtime tells its listeners: the worker's messages, and that it had to start anew. */
export type RuntimeEvent = FromWorker | { readonly kind: "restarting"; readonly reason: string };

/** A script that does not heed an interrupt (it waits in JavaScript, say) ends with its worker. */
const GRACE_MS = 3000;

type Outcome = Omit<RunResult, "stdout" | "stderr">;

const outcomeOf = (error: string, exit_code: number): Outcome => ({ error, exit_code, files: [] });

const STOPPED = outcomeOf("KeyboardInterrupt: stopped from outside", 130);

class Run {
  stdout = "";
  stderr = "";
  private readonly ended = Promise.withResolvers<RunResult>();
  readonly result = this.ended.promise;
  constructor(readonly id: number, readonly options: RunOptions) {}

  write(kind: "stdout" | "stderr", text: string): void {
    const hear = kind === "stdout" ? this.options.onStdout : this.options.onStderr;
    if (hear) hear(text);
    else this[kind] += text;
  }

  end(outcome: Outcome): void {
    this.ended.resolve({ stdout: this.stdout, stderr: this.stderr, ...outcome });
  }

  /** It could not begin. */
  fail(error: unknown): void {
    this.ended.reject(error);
  }
}

/** A worker with what belongs to its life: the shared control words, the outcome of its start. */
class Host {
  readonly worker = new RuntimeWorker({ name: "tensorbrook" });
  readonly control = crossOriginIsolated ? newControl() : null;
  readonly panel = this.control === null ? null : new ControlPanel(this.control);
  readonly ready = Promise.withResolvers<Capabilities>();

  constructor(
    options: RuntimeOptions, receive: (message: FromWorker) => void, fail: (reason: string) => void,
  ) {
    this.worker.onmessage = ({ data }: MessageEvent<FromWorker>) => receive(data);
    this.worker.onerror = ({ message }) => fail(message);
    this.ready.promise.catch(() => undefined); // whoever awaits boot() hears of it
    const base = new URL("./", location.href).href;
    const { threads = null, backend = null, engine = null, gpu = null } = options;
    const { control } = this;
    this.post({ kind: "boot", options: { base, threads, backend, engine, gpu, control } });
  }

  post(message: ToWorker): void {
    this.worker.postMessage(message);
  }
}

export class Runtime {
  private readonly listeners = new Set<(event: RuntimeEvent) => void>();
  private host: Host | null = null;
  private current: Run | null = null;
  private queue: Promise<unknown> = Promise.resolve();
  private runs = 0;
  private booted = false;

  constructor(private readonly options: RuntimeOptions = {}) {
    addEventListener("pagehide", () => this.pause());
  }

  /** Hear every message of the worker; returns the way to stop hearing. */
  onEvent(listener: (event: RuntimeEvent) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Start the worker unless it runs; resolves when Python is ready. */
  boot(): Promise<Capabilities> {
    this.host ??= this.newHost();
    return this.host.ready.promise;
  }

  /** Run a script as `python script.py` would, after those that were asked for before. */
  run(source: string, options: RunOptions = {}): Promise<RunResult> {
    const result = this.queue.then(() => this.start(source, options));
    this.queue = result.catch(() => undefined);
    return result;
  }

  session(command: SessionCommand): void {
    void this.boot();
    this.host?.post({ kind: "session", command });
  }

  /** Interrupt the running script at once; where that cannot be, start the runtime anew. */
  stop(): void {
    const run = this.current;
    if (run === null) return;
    if (!this.booted) return this.finish(STOPPED);
    const panel = this.host?.panel;
    if (!panel) return this.restart("this page is not cross-origin isolated", STOPPED);
    panel.interrupt();
    this.host?.post({ kind: "stop", id: run.id });
    setTimeout(() => {
      if (this.current === run) this.restart("the script did not heed the interrupt", STOPPED);
    }, GRACE_MS);
  }

  /** End the worker and its helpers; what runs in them ends with them. */
  dispose(outcome: Outcome = STOPPED): void {
    this.host?.worker.terminate();
    this.host = null;
    this.booted = false;
    this.finish(outcome);
  }

  private newHost(): Host {
    // What an earlier worker sent before it ended may still arrive, and means nothing any more.
    const host: Host = new Host(
      this.options,
      (message) => { if (this.host === host) this.receive(message); },
      (reason) => { if (this.host === host) this.broken(reason); });
    return host;
  }

  private start(source: string, options: RunOptions): Promise<RunResult> {
    const run = new Run(++this.runs, options);
    this.current = run;
    this.boot().then(() => this.send(run, source), (error) => this.refuse(run, error));
    return run.result;
  }

  private send(run: Run, source: string): void {
    if (this.current !== run) return; // stopped before Python was ready
    const { filename = "main.py", argv = [], files = [] } = run.options;
    this.host?.post({ kind: "run", id: run.id, script: { source, filename, argv, files } });
  }

  private refuse(run: Run, error: unknown): void {
    if (this.current === run) this.current = null;
    run.fail(error);
  }

  /** The worker died of an error of its own: before it was ready there is no use in another. */
  private broken(reason: string): void {
    const sentence = `Python broke down: ${reason}`;
    if (this.booted) this.restart(sentence, outcomeOf(sentence, 1));
    else this.receive({ kind: "boot-failed", message: reason });
  }

  private restart(reason: string, outcome: Outcome): void {
    this.dispose(outcome);
    this.emit({ kind: "restarting", reason });
    void this.boot();
  }

  /** A page that is left must not go on computing, even while the browser keeps it for a return. */
  private pause(): void {
    if (this.host === null) return;
    this.dispose();
    const resume = ({ persisted }: PageTransitionEvent): void => {
      if (persisted) this.restart("the page was left and came back", STOPPED);
    };
    addEventListener("pageshow", resume, { once: true });
  }

  private finish(outcome: Outcome): void {
    const run = this.current;
    this.current = null;
    run?.end(outcome);
  }

  private emit(event: RuntimeEvent): void {
    for (const listener of this.listeners) listener(event);
  }

  private receive(message: FromWorker): void {
    switch (message.kind) {
      case "ready":
        this.booted = true;
        this.host?.ready.resolve(message.capabilities);
        break;
      case "boot-failed":
        this.host?.ready.reject(new Error(message.message));
        break;
      case "stdout":
      case "stderr":
        this.host?.panel?.took();
        if (message.id === this.current?.id) this.current.write(message.kind, message.text);
        break;
      case "finished": {
        const { error, exit_code, files } = message;
        this.host?.panel?.clear(); // the next script may not be the one that was stopped
        this.finish({ error, exit_code, files });
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
