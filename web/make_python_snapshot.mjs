/**
 * Writes the snapshot from which the page starts: Python's memory with the package imported.
 *
 *     node make_python_snapshot.mjs <pyodide folder> <wheel> <snapshot>
 *
 * The snapshot consists of two words, the lengths of header and wheel; the header (JSON); the
 * wheel; and, compressed with gzip, the memory and the package's files. The page compares the wheel
 * with the served one, so a snapshot of other sources is never used.
 * web/runtime/python_snapshot.ts reads it.
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
import tensorbrook.studio.script_runner
import tensorbrook.studio.session
import asyncio, random
`;

/** Overwrite freed memory with zeros: its old content would not compress. */
const SCRUB = `
import gc
gc.collect()
for size in (1 << 20, 1 << 18, 1 << 16, 1 << 14, 1 << 12, 1 << 10, 600):
    blocks = [bytearray(size) for _ in range((4 << 20) // size)]
    del blocks
gc.collect()
`;

/**
 * Python checks at its start whether JSPI is available, and the snapshot records the result. Define
 * stubs where Node has no JSPI: nothing awaits a promise while a snapshot is made.
 */
function defineJspi() {
  if ("Suspending" in WebAssembly) return;
  WebAssembly.Suspending = class {
    constructor(wrapped) {
      return wrapped;
    }
  };
  WebAssembly.promising = (wrapped) => async (...args) => wrapped(...args);
}

/** Yield the files below a folder of Python's file system, except for compiled Python code. */
function* filesBelow(fs, folder) {
  for (const name of fs.readdir(folder)) {
    if (name === "." || name === ".." || name === "__pycache__") continue;
    const path = `${folder}/${name}`;
    if (fs.isDir(fs.stat(path).mode)) yield* filesBelow(fs, path);
    else yield [path, fs.readFile(path)];
  }
}

/** Start Python and import the package; returns its memory, and the files that it may read. */
async function snapshotPython(folder, wheel) {
  defineJspi();
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

async function main(folder, wheelFile, snapshotFile) {
  const wheel = readFileSync(wheelFile);
  const { memory, files } = await snapshotPython(folder, wheel);
  const sizes = files.map(([path, bytes]) => [path, bytes.length]);
  const header = Buffer.from(JSON.stringify({ memory: memory.length, files: sizes }));
  const lengths = Buffer.alloc(8);
  lengths.writeUInt32LE(header.length, 0);
  lengths.writeUInt32LE(wheel.length, 4);
  const content = Buffer.concat([memory, ...files.map(([, bytes]) => bytes)]);
  const compressed = gzipSync(content, { level: 9 });
  writeFileSync(snapshotFile, Buffer.concat([lengths, header, wheel, compressed]));
}

try {
  await main(...argv.slice(2));
} catch (error) {
  stderr.write(`${error.message}\n`); // without the source line: Pyodide is a single line
  exit(1);
}
exit(0); // Pyodide keeps the process alive
