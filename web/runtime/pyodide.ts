/** Starts Pyodide with the package's wheel: from the build's snapshot if possible, else cold. */

import type { PyodideAPI } from "pyodide";
import { PythonSnapshot } from "./python_snapshot";

/** The folder of the package in Python's file system. */
const PACKAGE_FOLDER = "/lib/tensorbrook";

/** Fetch a file that the build makes. */
export async function fetchBuildOutput(url: string): Promise<Response> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}; build the page again`);
  return response;
}

const importLoader = (indexURL: string): Promise<typeof import("pyodide")> =>
  import(/* @vite-ignore */ `${indexURL}pyodide.mjs`);

export interface StartedPython {
  readonly pyodide: PyodideAPI;
  /** Whether it was restored from the snapshot. */
  readonly fromSnapshot: boolean;
}

/** Fetch the package's wheel. */
export const fetchWheel = async (base: string): Promise<ArrayBuffer> =>
  (await fetchBuildOutput(`${base}tensorbrook.whl`)).arrayBuffer();

/** Start Python with the package on its path. */
export async function startPython(
  base: string, wheelBytes: Promise<ArrayBuffer>,
): Promise<StartedPython> {
  const indexURL = `${base}pyodide/`;
  const [response, wheel, loader, { default: createPyodideModule }] = await Promise.all([
    fetch(`${indexURL}python.snapshot`),
    wheelBytes,
    importLoader(indexURL),
    import(/* @vite-ignore */ `${indexURL}pyodide.asm.mjs`),
  ]);
  const snapshot = await PythonSnapshot.open(response, new Uint8Array(wheel));
  const config = snapshot?.pyodideConfig(createPyodideModule);
  const pyodide = await loader.loadPyodide({ indexURL, ...config });
  if (snapshot === null) {
    pyodide.unpackArchive(wheel, "wheel", { extractDir: PACKAGE_FOLDER });
    pyodide.pyimport("sys").path.append(PACKAGE_FOLDER);
  } else {
    await snapshot.restore(pyodide);
    // All interpreters of a snapshot share its random state.
    pyodide.pyimport("random").seed();
  }
  return { pyodide, fromSnapshot: snapshot !== null };
}
