/**
 * Writes the image from which the page starts: Python's memory after our package was imported.
 *
 *     node snapshot.mjs <pyodide folder> <wheel> <image>
 *
 * The image is the lengths of memory and wheel (a word each), the wheel, and the memory (gzip). The page
 * compares the wheel with its own, so an image of other sources is never used. web/runtime/image.ts reads it.
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
import asyncio, linecache, random, traceback
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
 * Python notes at its start whether it can wait for promises, and the image keeps that note. An older
 * Node cannot; nothing waits while an image is made, so here it need only believe that it can.
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

async function pythonMemory(folder, wheel) {
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
  return pyodide.makeMemorySnapshot();
}

async function main(folder, wheelFile, imageFile) {
  const wheel = readFileSync(wheelFile);
  const memory = await pythonMemory(folder, wheel);
  const header = Buffer.alloc(8);
  header.writeUInt32LE(memory.length, 0);
  header.writeUInt32LE(wheel.length, 4);
  writeFileSync(imageFile, Buffer.concat([header, wheel, gzipSync(memory, { level: 9 })]));
}

try {
  await main(...argv.slice(2));
} catch (error) {
  stderr.write(`${error.message}\n`); // without the source line, which is all of Pyodide
  exit(1);
}
exit(0); // Pyodide keeps the process alive
