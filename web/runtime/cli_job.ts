/** A script from outside the browser: `tensorbrook run --page` sends it and gets its files back. */

import type { Runtime } from "./client";

/** A path and its content in base64, for the way to the page carries text only. */
type Packed = readonly [path: string, base64: string];

export interface Job {
  readonly source: string;
  readonly filename: string;
  readonly argv: readonly string[];
  readonly files: readonly Packed[];
}

export interface JobResult {
  readonly error: string | null;
  readonly exit_code: number;
  readonly files: readonly Packed[];
}

type Stream = "stdout" | "stderr";
export type Write = (stream: Stream, text: string) => Promise<void>;

declare global {
  /** Put here by whoever drives the page. */
  var tensorbrookWrite: Write | undefined;
}

/** Hands text on in order, one piece at a time; what comes meanwhile goes in larger pieces. */
export class Outlet {
  private waiting: [Stream, string][] = [];
  private draining: Promise<void> = Promise.resolve();
  private busy = false;
  constructor(private readonly out: Write) {}

  write(stream: Stream, text: string): void {
    const last = this.waiting.at(-1);
    if (last?.[0] === stream) last[1] += text;
    else this.waiting.push([stream, text]);
    if (!this.busy) this.draining = this.drain();
  }

  /** Resolves when everything so far has been handed on. */
  flushed(): Promise<void> {
    return this.draining;
  }

  private async drain(): Promise<void> {
    this.busy = true;
    for (let next = this.waiting.shift(); next !== undefined; next = this.waiting.shift()) {
      await this.out(...next);
    }
    this.busy = false;
  }
}

function unpack(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function pack(bytes: Uint8Array): string {
  const pieces: string[] = [];
  // A call takes only so many arguments.
  for (let i = 0; i < bytes.length; i += 8192) {
    pieces.push(String.fromCharCode(...bytes.subarray(i, i + 8192)));
  }
  return btoa(pieces.join(""));
}

export async function runJob(runtime: Runtime, job: Job, out: Write): Promise<JobResult> {
  const outlet = new Outlet(out);
  const { error, exit_code, files } = await runtime.run(job.source, {
    filename: job.filename,
    argv: job.argv,
    files: job.files.map(([path, base64]) => ({ path, bytes: unpack(base64) })),
    onStdout: (text) => outlet.write("stdout", text),
    onStderr: (text) => outlet.write("stderr", text),
  });
  await outlet.flushed();
  return { error, exit_code, files: files.map(({ path, bytes }) => [path, pack(bytes)] as const) };
}
