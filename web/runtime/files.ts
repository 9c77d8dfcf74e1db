/** The files of a script: put into Python's file system before it runs, compared after it. */

import type { PyodideAPI } from "pyodide";
import type { FileEntry } from "../protocol";

type FileSystem = PyodideAPI["FS"];

/** The working directory of every script. */
export const FOLDER = "/home/pyodide/script";

export const parent = (path: string): string => path.slice(0, path.lastIndexOf("/"));

function* walk(fs: FileSystem, folder: string): Generator<string> {
  for (const name of fs.readdir(folder)) {
    if (name === "." || name === "..") continue;
    const path = `${folder}/${name}`;
    const { mode } = fs.lstat(path);
    if (fs.isDir(mode)) yield* walk(fs, path);
    else if (fs.isFile(mode)) yield path;
  }
}

/** Take all out of a folder: an earlier script may have left folders and links, too. */
function empty(fs: FileSystem, folder: string): void {
  for (const name of fs.readdir(folder)) {
    if (name === "." || name === "..") continue;
    const path = `${folder}/${name}`;
    if (!fs.isDir(fs.lstat(path).mode)) fs.unlink(path);
    else {
      empty(fs, path);
      fs.rmdir(path);
    }
  }
}

export function sameBytes(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The working directory as one run finds it and leaves it. */
export class Folder {
  private readonly before: ReadonlyMap<string, Uint8Array>;
  constructor(private readonly fs: FileSystem, files: readonly FileEntry[]) {
    this.before = new Map(files.map((file) => [file.path, file.bytes]));
    fs.mkdirTree(FOLDER);
    empty(fs, FOLDER);
    for (const file of files) {
      const target = `${FOLDER}/${file.path}`;
      fs.mkdirTree(parent(target));
      fs.writeFile(target, file.bytes);
    }
  }

  /** Files that are new or have another content than before the run. */
  changed(): FileEntry[] {
    return [...walk(this.fs, FOLDER)]
      .filter((path) => !path.includes("/__pycache__/"))
      .map((path) => ({ path: path.slice(FOLDER.length + 1), bytes: this.fs.readFile(path) }))
      .filter(({ path, bytes }) => !sameBytes(bytes, this.before.get(path)));
  }
}
