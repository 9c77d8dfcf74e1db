/** A script's files: written to Python's file system before a run, compared with it afterwards. */

import type { PyodideAPI } from "pyodide";
import type { FileEntry } from "../protocol";

type FileSystem = PyodideAPI["FS"];

/** The working directory of every script. */
export const SCRIPT_FOLDER = "/home/pyodide/script";

export const parentFolder = (path: string): string => path.slice(0, path.lastIndexOf("/"));

function* walkFiles(fs: FileSystem, folder: string): Generator<string> {
  for (const name of fs.readdir(folder)) {
    if (name === "." || name === "..") continue;
    const path = `${folder}/${name}`;
    const { mode } = fs.lstat(path);
    if (fs.isDir(mode)) yield* walkFiles(fs, path);
    else if (fs.isFile(mode)) yield path;
  }
}

/** Delete the contents of a folder, including folders and links of an earlier script. */
function clearFolder(fs: FileSystem, folder: string): void {
  for (const name of fs.readdir(folder)) {
    if (name === "." || name === "..") continue;
    const path = `${folder}/${name}`;
    if (!fs.isDir(fs.lstat(path).mode)) fs.unlink(path);
    else {
      clearFolder(fs, path);
      fs.rmdir(path);
    }
  }
}

export function equalBytes(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The working directory of one run: holds its input files, then yields its output files. */
export class ScriptFolder {
  private readonly initialFiles: ReadonlyMap<string, Uint8Array>;
  constructor(private readonly fs: FileSystem, files: readonly FileEntry[]) {
    this.initialFiles = new Map(files.map((file) => [file.path, file.bytes]));
    fs.mkdirTree(SCRIPT_FOLDER);
    clearFolder(fs, SCRIPT_FOLDER);
    for (const file of files) {
      const target = `${SCRIPT_FOLDER}/${file.path}`;
      fs.mkdirTree(parentFolder(target));
      fs.writeFile(target, file.bytes);
    }
  }

  /** The files that the run created or changed. */
  changedFiles(): FileEntry[] {
    return [...walkFiles(this.fs, SCRIPT_FOLDER)]
      .filter((path) => !path.includes("/__pycache__/"))
      .map((path) => (
        { path: path.slice(SCRIPT_FOLDER.length + 1), bytes: this.fs.readFile(path) }))
      .filter(({ path, bytes }) => !equalBytes(bytes, this.initialFiles.get(path)));
  }
}
