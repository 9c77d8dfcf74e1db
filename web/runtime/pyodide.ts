/** Starting Pyodide from our own folder with our wheel: from the build's image, else afresh. */

import type { PyodideAPI } from "pyodide";
import { Image } from "./python_snapshot";

/** Where our wheel lies in Python's file system. */
const PACKAGE = "/lib/tensorbrook";

/** The file at this address, which a build puts there. */
export async function fetched(url: string): Promise<Response> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}; build the page again`);
  return response;
}

const importLoader = (indexURL: string): Promise<typeof import("pyodide")> =>
  import(/* @vite-ignore */ `${indexURL}pyodide.mjs`);

export interface StartedPython {
  readonly pyodide: PyodideAPI;
  /** Whether it came from the image. */
  readonly restored: boolean;
}

/** The package, as the build packed it. */
export const fetchWheel = async (base: string): Promise<ArrayBuffer> =>
  (await fetched(`${base}tensorbrook.whl`)).arrayBuffer();

/** Python with our package on its path. */
export async function startPython(
  base: string, fetchedWheel: Promise<ArrayBuffer>,
): Promise<StartedPython> {
  const indexURL = `${base}pyodide/`;
  const [response, wheel, loader, { default: create }] = await Promise.all([
    fetch(`${indexURL}python.snapshot`),
    fetchedWheel,
    importLoader(indexURL),
    import(/* @vite-ignore */ `${indexURL}pyodide.asm.mjs`),
  ]);
  const image = await Image.of(response, new Uint8Array(wheel));
  const pyodide = await loader.loadPyodide({ indexURL, ...image?.config(create) });
  if (image === null) {
    pyodide.unpackArchive(wheel, "wheel", { extractDir: PACKAGE });
    pyodide.pyimport("sys").path.append(PACKAGE);
  } else {
    await image.finish(pyodide);
    // What an interpreter draws as it starts was drawn when the image was made.
    pyodide.pyimport("random").seed();
  }
  return { pyodide, restored: image !== null };
}
