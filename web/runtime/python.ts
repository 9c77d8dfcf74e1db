/** Python in the worker: a self-hosted Pyodide with our wheel in it. */

import type { PyodideAPI } from "pyodide";
import type { PyCallable, PyDict } from "pyodide/ffi";
import type { FileEntry, Script, SessionCommand } from "../protocol";
import type { Console } from "./console";
import type { ControlledWorker } from "./control";
import { Folder, folderOf } from "./files";
import SCRIPT from "./script.py?raw";

export interface Outcome {
  readonly error: string | null;
  readonly exit_code: number;
  readonly files: readonly FileEntry[];
}

/** Load Pyodide from our own folder. */
export async function loadPyodide(base: string): Promise<PyodideAPI> {
  const indexURL = `${base}pyodide/`;
  const loader: typeof import("pyodide") = await import(/* @vite-ignore */ `${indexURL}pyodide.mjs`);
  return loader.loadPyodide({ indexURL });
}

/** Environment variables by which the package learns what the page chose. */
export function setEnvironment(pyodide: PyodideAPI, variables: Record<string, string | null>): void {
  const environ: PyDict = pyodide.pyimport("os").environ;
  for (const [name, value] of Object.entries(variables)) if (value !== null) environ.set(name, value);
}

export class Python {
  private readonly runScript: PyCallable;
  private handle: PyCallable | null = null;

  constructor(
    private readonly pyodide: PyodideAPI,
    private readonly console: Console,
    private readonly control: ControlledWorker | null,
  ) {
    pyodide.setStdin({ stdin: () => null });
    pyodide.setStdout(console.writer("stdout"));
    pyodide.setStderr(console.writer("stderr"));
    const globals: PyDict = pyodide.toPy({});
    pyodide.runPython(SCRIPT, { globals, filename: "<runtime>" });
    this.runScript = globals.get("run");
    if (control !== null) pyodide.setInterruptBuffer(control.signals);
  }

  /** Run a script to its end; whatever happens in it comes back as an outcome. */
  async run(id: number, script: Script): Promise<Outcome> {
    const folder = new Folder(this.pyodide.FS, folderOf(script.filename), script.files);
    this.control?.clear();
    this.console.id = id;
    try {
      const [error, exit_code] = await this.call(script, folder.path);
      return { error, exit_code, files: folder.changed() };
    } finally {
      this.console.id = 0;
      this.control?.clear();
    }
  }

  private async call(script: Script, folder: string): Promise<[string | null, number]> {
    const argv = this.pyodide.toPy(script.argv);
    const outcome = await this.runScript.callPromising(script.source, script.filename, argv, folder);
    const [error, exitCode] = outcome.toJs();
    outcome.destroy();
    argv.destroy();
    return [error ?? null, exitCode];
  }

  /** Hand a command to the training session, which answers by events. */
  async session(command: SessionCommand): Promise<void> {
    this.handle ??= this.pyodide.pyimport("tensorbrook.studio.session").handle;
    await this.handle?.(JSON.stringify(command));
  }
}
