/**
 * Writes the image from which the page starts: Python's memory after our package was imported.
 *
 *     node snapshot.mjs <pyodide folder> <wheel> <image>
 *
 * The image is two words with the lengths of what follows them, a list of its contents (JSON) and
 * the wheel; then, as gzip, the memory and the package's files. The page compares the wheel with
 * its own, so an image of other sources is never used. web/runtime/image.ts reads it.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { argv, exit, stderr } from "node:process";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

const PACKAGE = "/lib/tensorbrook"; // as in web/runtime/python.ts

const IMPORTS = `
import sys
sys.path.append("${PACKAGE}")
import tensorbrook
import tensorbrook.backends.wasm
import tensorbrook.backends.webgpu
import tensorbrook.keras
import tensorbrook.studio.script
import tensorbrook.studio.session
import asyncio, random
`;

/** Freed memory still holds what was in it, which does not compress; fill it with zeros once. */
const SCRUB = `
import gc
gc.collect()
for size in (1 << 20, 1 << 18, 1 << 16, 1 << 14, 1 << 12, 1 << 10, 600):
    blocks = [bytearray(size) for _ in range((4 << 20) // size)]
    del blocks
gc.collect()
`;

/**
 * Python notes at its start whether it can wait for promises, and the image keeps that note. An
 * older Node cannot; nothing waits while an image is made, so it need only believe that it can.
 */
function promisePromises() {
  if ("Suspending" in WebAssembly) return;
  WebAssembly.Suspending = class {
    constructor(wrapped) {
      return wrapped;
    }
  };
  WebAssembly.promising = (wrapped) => async (...args) => wrapped(...args);
}

/** Every file below a folder of Python's file system, but for what Python compiled. */
function* filesBelow(fs, folder) {
  for (const name of fs.readdir(folder)) {
    if (name === "." || name === ".." || name === "__pycache__") continue;
    const path = `${folder}/${name}`;
    if (fs.isDir(fs.stat(path).mode)) yield* filesBelow(fs, path);
    else yield [path, fs.readFile(path)];
  }
}

/** Python as it is after our imports: its memory, and the files that it may still read. */
async function importedPython(folder, wheel) {
  promisePromises();
  const indexURL = `${resolve(folder)}/`;
  const { loadPyodide } = await import(pathToFileURL(`${indexURL}pyodide.mjs`).href);
  const pyodide = await loadPyodide({ indexURL, _makeSnapshot: true });
  pyodide.unpackArchive(new Uint8Array(wheel), "wheel", { extractDir: PACKAGE });
  for (const source of [IMPORTS, SCRUB]) {
    const globals = pyodide.toPy({});
    pyodide.runPython(source, { globals });
    globals.destroy();
  }
  return { memory: pyodide.makeMemorySnapshot(), files: [...filesBelow(pyodide.FS, PACKAGE)] };
}

async function main(folder, wheelFile, imageFile) {
  const wheel = readFileSync(wheelFile);
  const { memory, files } = await importedPython(folder, wheel);
  const list = files.map(([path, bytes]) => [path, bytes.length]);
  const header = Buffer.from(JSON.stringify({ memory: memory.length, files: list }));
  const lengths = Buffer.alloc(8);
  lengths.writeUInt32LE(header.length, 0);
  lengths.writeUInt32LE(wheel.length, 4);
  const content = Buffer.concat([memory, ...files.map(([, bytes]) => bytes)]);
  const packed = gzipSync(content, { level: 9 });
  writeFileSync(imageFile, Buffer.concat([lengths, header, wheel, packed]));
}

try {
  await main(...argv.slice(2));
} catch (error) {
  stderr.write(`${error.message}\n`); // without the source line, which is all of Pyodide
  exit(1);
}
exit(0); // Pyodide keeps the process alive
