/** The files of a script: put into Python's file system before it runs, compared after it. */

import type { PyodideAPI } from "pyodide";
import type { FileEntry } from "../protocol";

type FileSystem = PyodideAPI["FS"];

const HOME = "/home/pyodide/script";

const parent = (path: string): string => path.slice(0, Math.max(path.lastIndexOf("/"), 1));

/** An absolute script path names the working directory; any other runs in a folder of our own. */
export const folderOf = (filename: string): string =>
  filename.startsWith("/") ? parent(filename) : HOME;

function* walk(fs: FileSystem, folder: string): Generator<string> {
  for (const name of fs.readdir(folder)) {
    if (name === "." || name === "..") continue;
    const path = `${folder}/${name}`;
    const { mode } = fs.lstat(path);
    if (fs.isDir(mode)) yield* walk(fs, path);
    else if (fs.isFile(mode)) yield path;
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The working directory of one run. */
export class Folder {
  private readonly before: ReadonlyMap<string, Uint8Array>;
  constructor(private readonly fs: FileSystem, readonly path: string, files: readonly FileEntry[]) {
    this.before = new Map(files.map((file) => [file.path, file.bytes]));
    fs.mkdirTree(path);
    for (const old of [...walk(fs, path)]) fs.unlink(old);
    for (const file of files) {
      const target = `${path}/${file.path}`;
      fs.mkdirTree(parent(target));
      fs.writeFile(target, file.bytes);
    }
  }

  /** Files that are new or have another content than before the run. */
  changed(): FileEntry[] {
    return [...walk(this.fs, this.path)]
      .map((path) => ({ path: path.slice(this.path.length + 1), bytes: this.fs.readFile(path) }))
      .filter(({ path, bytes }) => !path.includes("__pycache__/") && !sameBytes(bytes, this.before.get(path)));
  }
}
