/**
 * The GPU as Python meets it, by whichever way: the device in Python's own worker, which waits by
 * switching stacks (gpu_local.ts), or in a worker of its own, with shared memory to wait on
 * (gpu_remote.ts). A call that must wait comes to a Pending, which backends/webgpu/host_page.py
 * waits for; errors that no call waits for are thrown by the next one, with their kind.
 */

import type { Way } from "../protocol";
import type { Counts } from "./gpu_device";
import type { GpuFacts } from "./gpu_info";
import type { BufferCopy, Piece } from "./gpu_ranges";

/** An answer that one need not switch stacks for. */
export interface Answer<T> {
  /** Wait a moment; tells whether the answer is there. An interrupt gets in between two calls. */
  ready(): boolean;
  take(): T;
}

export type Pending<T> = Promise<T> | Answer<T>;


/** So many runs may be under way. */
export const MOST_UNDERWAY = 2;

export interface GpuHost {
  readonly way: Way;
  readonly facts: GpuFacts;
  readonly calls: number;
  /** Why the device is no more, or null. */
  lost(): string | null;
  /** What the device did; `calls` is known at once. */
  counts(): Pending<Counts>;
  /** A new buffer of zeros; its number. */
  create(size: number): number;
  free(buffer: number): void;
  write(buffer: number, bytes: Uint8Array): void;
  /** What pieces of buffers hold, one after the other. */
  read(pieces: readonly Piece[]): Pending<Uint8Array>;
  load(commands: Uint8Array<ArrayBuffer>): Pending<number>;
  unload(program: number): void;
  /** Whether a run must wait for `room` first. */
  full(): boolean;
  room(): Pending<null>;
  /** The copies come before the program. */
  run(program: number, places: readonly number[], copies: readonly BufferCopy[]): void;
  /** Is there when the errors of all calls before have come in, and throws the first of them. */
  settled(): Pending<null>;
  /** Another device in the place of a lost one; every number is void. */
  renew(): Pending<null>;
  /** Lose the device, for tests. */
  destroy(): void;
}
