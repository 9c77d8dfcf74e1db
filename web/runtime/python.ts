/** The worker's Python interpreter: runs scripts and passes commands to the training session. */

import type { PyodideAPI } from "pyodide";
import type { PyCallable } from "pyodide/ffi";
import type { FileEntry, Script, SessionCommand } from "../protocol";
import type { Console } from "./console";
import type { ControlReceiver } from "./control";
import { SCRIPT_FOLDER, ScriptFolder } from "./files";

export interface Outcome {
  readonly error: string | null;
  readonly exit_code: number;
  readonly files: readonly FileEntry[];
}

export const canSwitchStacks =
  typeof WebAssembly !== "undefined" && "Suspending" in WebAssembly;

/** Call a Python function, which may await promises if the browser can switch stacks. */
export async function callPython(
  callable: PyCallable, ...args: unknown[]
): ReturnType<PyCallable["callPromising"]> {
  return canSwitchStacks ? callable.callPromising(...args) : callable(...args);
}

const KEYBOARD_INTERRUPT = "KeyboardInterrupt";
const INTERRUPTED_EXIT_CODE = 130; // as a shell returns for a command ended by Ctrl-C

export class Python {
  private readonly runScript: PyCallable;
  private readonly stopScript: PyCallable;
  private handleCommand: PyCallable | null = null;
  private deferrals = 1; // interrupts are deferred while no script runs

  constructor(
    private readonly pyodide: PyodideAPI,
    private readonly console: Console,
    private readonly control: ControlReceiver | null,
  ) {
    pyodide.setStdin({ stdin: () => null });
    pyodide.setStdout(console.writer("stdout"));
    pyodide.setStderr(console.writer("stderr"));
    const script = pyodide.pyimport("tensorbrook.studio.script_runner");
    this.runScript = script.run;
    this.stopScript = script.cancel_awaiting_script;
    this.updateInterruptBuffer();
  }

  /**
   * Start or end a deferral of interrupts. An interrupt is delivered to the script when no deferral
   * is left. While Python awaits a promise, it runs internal tasks; an interrupt in such a task
   * would leave the script asleep forever.
   */
  deferInterrupts(begin: boolean): void {
    this.deferrals += begin ? 1 : -1;
    this.updateInterruptBuffer();
  }

  private updateInterruptBuffer(): void {
    const buffer = this.deferrals > 0 ? [0] : this.control?.interruptBuffer;
    // Pyodide only reads and writes the first element.
    if (buffer !== undefined) this.pyodide.setInterruptBuffer(buffer as unknown as Uint8Array);
  }

  /** Run a script to its end; its exceptions are part of the outcome. */
  async run(id: number, script: Script): Promise<Outcome> {
    const name = script.filename.split("/").at(-1) ?? script.filename;
    const bytes = new TextEncoder().encode(script.source);
    const folder = new ScriptFolder(this.pyodide.FS, [...script.files, { path: name, bytes }]);
    this.console.runId = id;
    this.deferInterrupts(false);
    try {
      const [error, exit_code] = await this.callScript(script, `${SCRIPT_FOLDER}/${name}`);
      return { error, exit_code, files: folder.changedFiles() };
    } finally {
      this.deferInterrupts(true);
      this.console.runId = 0;
    }
  }

  /** Stop a script that awaits a promise. No message arrives while a script computes. */
  cancelAwait(id: number): void {
    if (this.console.runId !== id) return; // the script has ended
    this.control?.clear(); // otherwise the interrupt would hit stopScript
    if (this.stopScript() !== true) this.control?.interrupt(); // no task: interrupt it on resume
  }

  private async callScript(
    { filename, argv }: Script, path: string,
  ): Promise<[error: string | null, exitCode: number]> {
    const argvProxy = this.pyodide.toPy(argv);
    try {
      const outcome = await callPython(this.runScript, path, filename, argvProxy);
      const [error, exitCode] = outcome.toJs();
      outcome.destroy();
      return [error ?? null, exitCode];
    } catch (error) {
      // The interrupt arrived before or after the script, so the traceback has no line of it.
      const { PythonError } = this.pyodide.ffi;
      if (!(error instanceof PythonError) || error.type !== KEYBOARD_INTERRUPT) throw error;
      return [KEYBOARD_INTERRUPT, INTERRUPTED_EXIT_CODE];
    } finally {
      argvProxy.destroy();
    }
  }

  /** Pass a command to the training session, which replies with events. */
  async session(command: SessionCommand): Promise<void> {
    this.handleCommand ??= this.pyodide.pyimport("tensorbrook.studio.session").handle;
    if (this.handleCommand !== null) await callPython(this.handleCommand, JSON.stringify(command));
  }
}
