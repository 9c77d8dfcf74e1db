/** Starting Pyodide from our own folder with our wheel in it: from the build's image, else afresh. */

import type { PyodideAPI } from "pyodide";
import { Image } from "./image";

/** Where our wheel lies in Python's file system. */
const PACKAGE = "/lib/tensorbrook";

/** What an interpreter draws or looks up as it starts, an image has from the machine that made it. */
const FRESHEN = "import random, importlib; random.seed(); importlib.invalidate_caches()";

/** The file at this address, which a build puts there. */
export async function fetched(url: string): Promise<Response> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}; build the page again`);
  return response;
}

const importLoader = (indexURL: string): Promise<typeof import("pyodide")> =>
  import(/* @vite-ignore */ `${indexURL}pyodide.mjs`);

/** Python with our package on its path; `restored` says whether it came from the image. */
export async function startPython(base: string): Promise<{ pyodide: PyodideAPI; restored: boolean }> {
  const indexURL = `${base}pyodide/`;
  const [response, wheel, loader, { default: create }] = await Promise.all([
    fetch(`${indexURL}python.image`),
    fetched(`${base}tensorbrook.whl`).then((answer) => answer.arrayBuffer()),
    importLoader(indexURL),
    import(/* @vite-ignore */ `${indexURL}pyodide.asm.mjs`),
  ]);
  const image = await Image.of(response, new Uint8Array(wheel));
  const pyodide = await loader.loadPyodide({ indexURL, ...image?.config(create) });
  pyodide.unpackArchive(wheel, "wheel", { extractDir: PACKAGE });
  if (image === null) pyodide.pyimport("sys").path.append(PACKAGE);
  else {
    image.finish();
    pyodide.runPython(FRESHEN);
  }
  return { pyodide, restored: image !== null };
}
