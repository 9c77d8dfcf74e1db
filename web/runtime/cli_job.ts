/** A job of `tensorbrook run --page`: runs its script in the page and returns the output files. */

import type { Runtime } from "./client";

/** A path and its content in base64, because jobs and results are transferred as JSON. */
type EncodedFile = readonly [path: string, base64: string];

export interface Job {
  readonly source: string;
  readonly filename: string;
  readonly argv: readonly string[];
  readonly files: readonly EncodedFile[];
}

export interface JobResult {
  readonly error: string | null;
  readonly exit_code: number;
  readonly files: readonly EncodedFile[];
}

type Stream = "stdout" | "stderr";
export type Write = (stream: Stream, text: string) => Promise<void>;

declare global {
  /** Defined by the program that drives the page. */
  var tensorbrookWrite: Write | undefined;
}

/** Writes text in order, one write at a time; text that arrives during a write is merged. */
export class OrderedOutput {
  private queue: [Stream, string][] = [];
  private draining: Promise<void> = Promise.resolve();
  private busy = false;
  constructor(private readonly sink: Write) {}

  write(stream: Stream, text: string): void {
    const last = this.queue.at(-1);
    if (last?.[0] === stream) last[1] += text;
    else this.queue.push([stream, text]);
    if (!this.busy) this.draining = this.drain();
  }

  /** Resolves when all text so far has been written. */
  flushed(): Promise<void> {
    return this.draining;
  }

  private async drain(): Promise<void> {
    this.busy = true;
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      await this.sink(...next);
    }
    this.busy = false;
  }
}

function decodeBase64(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function encodeBase64(bytes: Uint8Array): string {
  const chunks: string[] = [];
  // The number of arguments of a call is limited.
  for (let i = 0; i < bytes.length; i += 8192) {
    chunks.push(String.fromCharCode(...bytes.subarray(i, i + 8192)));
  }
  return btoa(chunks.join(""));
}

export async function runJob(runtime: Runtime, job: Job, sink: Write): Promise<JobResult> {
  const output = new OrderedOutput(sink);
  const { error, exit_code, files } = await runtime.run(job.source, {
    filename: job.filename,
    argv: job.argv,
    files: job.files.map(([path, base64]) => ({ path, bytes: decodeBase64(base64) })),
    onStdout: (text) => output.write("stdout", text),
    onStderr: (text) => output.write("stderr", text),
  });
  await output.flushed();
  const encoded = files.map(({ path, bytes }) => [path, encodeBase64(bytes)] as const);
  return { error, exit_code, files: encoded };
}
