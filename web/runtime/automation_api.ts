/** The automation API `window.tensorbrook`: other programs run Python in the page through it. */

import type { Runtime } from "./client";

export interface PythonResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly error: string | null;
}

export interface Tensorbrook {
  readonly runtime: Runtime;
  readonly runPython: (source: string) => Promise<PythonResult>;
}

declare global {
  var tensorbrook: Tensorbrook | undefined;
}

export function exposeAutomationApi(runtime: Runtime): void {
  globalThis.tensorbrook = {
    runtime,
    async runPython(source) {
      const { stdout, stderr, error } = await runtime.run(source);
      return { stdout, stderr, error };
    },
  };
}
