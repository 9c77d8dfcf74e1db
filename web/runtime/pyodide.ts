/** Starts Pyodide with the package's wheel: from the build's snapshot if possible, else cold. */

import type { PyodideAPI } from "pyodide";
import { PythonSnapshot, type CreateModule } from "./python_snapshot";

/** The folder of the package in Python's file system. */
const PACKAGE_FOLDER = "/lib/tensorbrook";

/** Fetch, with an error that says what to do if the server cannot be reached. */
async function fetchOrExplain(url: string): Promise<Response> {
  try {
    return await fetch(url);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const hint = "check the connection and reload the page";
    throw new Error(`${url} could not be fetched (${error.message}); ${hint}`, { cause: error });
  }
}

/** Fetch a file that the build makes. */
export async function fetchBuildOutput(url: string): Promise<Response> {
  const response = await fetchOrExplain(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}; build the page again`);
  return response;
}

/** Import a module that the build makes; a browser's own message may lack the address. */
async function importBuildOutput<Module>(url: string): Promise<Module> {
  try {
    return await import(/* @vite-ignore */ url);
  } catch (error) {
    throw new Error(`${url} could not be loaded; check the connection and reload the page`,
      { cause: error });
  }
}

type PyodideLoader = typeof import("pyodide");
interface PyodideModule { readonly default: CreateModule }

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
    fetchOrExplain(`${indexURL}python.snapshot`),
    wheelBytes,
    importBuildOutput<PyodideLoader>(`${indexURL}pyodide.mjs`),
    importBuildOutput<PyodideModule>(`${indexURL}pyodide.asm.mjs`),
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
