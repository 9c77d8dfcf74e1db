/** What the page asks of Python: scripts, and commands to the training session. */

import type { PyodideAPI } from "pyodide";
import type { PyCallable } from "pyodide/ffi";
import type { FileEntry, Script, SessionCommand } from "../protocol";
import type { Console } from "./console";
import type { ControlledWorker } from "./control";
import { Folder, FOLDER } from "./files";

export interface Outcome {
  readonly error: string | null;
  readonly exit_code: number;
  readonly files: readonly FileEntry[];
}

export const canSwitchStacks = "Suspending" in WebAssembly;

/** Call Python so that it may wait for promises, where the browser can switch stacks. */
export async function entered(
  f: PyCallable, ...args: unknown[]
): ReturnType<PyCallable["callPromising"]> {
  return canSwitchStacks ? f.callPromising(...args) : f(...args);
}

const INTERRUPT = "KeyboardInterrupt";
const STOPPED = 130; // the exit code of a shell command that Ctrl-C ended

export class Python {
  private readonly runScript: PyCallable;
  private readonly stopScript: PyCallable;
  private handle: PyCallable | null = null;
  private holds = 1; // no script runs

  constructor(
    private readonly pyodide: PyodideAPI,
    private readonly console: Console,
    private readonly control: ControlledWorker | null,
  ) {
    pyodide.setStdin({ stdin: () => null });
    pyodide.setStdout(console.writer("stdout"));
    pyodide.setStderr(console.writer("stderr"));
    const script = pyodide.pyimport("tensorbrook.studio.script");
    this.runScript = script.run;
    this.stopScript = script.stop_waiting;
    this.listen();
  }

  /**
   * Let no interrupt in until every hold has ended: it stays for the script that it is meant for.
   * While Python waits for a promise, its own tasks run; an interrupt among them would leave whoever
   * waits asleep for ever.
   */
  hold(held: boolean): void {
    this.holds += held ? 1 : -1;
    this.listen();
  }

  private listen(): void {
    const signals = this.holds > 0 ? [0] : this.control?.signals;
    // Pyodide reads and writes the first element, and asks for no more of an array.
    if (signals !== undefined) this.pyodide.setInterruptBuffer(signals as unknown as Uint8Array);
  }

  /** Run a script to its end; whatever happens in it comes back as an outcome. */
  async run(id: number, script: Script): Promise<Outcome> {
    const name = script.filename.split("/").at(-1) ?? script.filename;
    const bytes = new TextEncoder().encode(script.source);
    const folder = new Folder(this.pyodide.FS, [...script.files, { path: name, bytes }]);
    this.console.id = id;
    this.hold(false);
    try {
      const [error, exit_code] = await this.call(script, `${FOLDER}/${name}`);
      return { error, exit_code, files: folder.changed() };
    } finally {
      this.hold(true);
      this.console.id = 0;
    }
  }

  /** Stop a script that waits for a promise; a message cannot come while it computes. */
  stopWaiting(id: number): void {
    if (this.console.id !== id) return; // it has ended
    this.control?.clear(); // the interrupt would hit what stops it
    if (this.stopScript() !== true) this.control?.interrupt(); // it sleeps, and then computes
  }

  private async call({ filename, argv }: Script, path: string): Promise<[string | null, number]> {
    const words = this.pyodide.toPy(argv);
    try {
      const outcome = await entered(this.runScript, path, filename, words);
      const [error, exitCode] = outcome.toJs();
      outcome.destroy();
      return [error ?? null, exitCode];
    } catch (error) {
      // On the way to the script or back from it: there is no line of it to tell of.
      const { PythonError } = this.pyodide.ffi;
      if (error instanceof PythonError && error.type === INTERRUPT) return [INTERRUPT, STOPPED];
      throw error;
    } finally {
      words.destroy();
    }
  }

  /** Hand a command to the training session, which answers by events. */
  async session(command: SessionCommand): Promise<void> {
    this.handle ??= this.pyodide.pyimport("tensorbrook.studio.session").handle;
    if (this.handle !== null) await entered(this.handle, JSON.stringify(command));
  }
}
