/**
 * The interface of the GPU to Python, for both transports: the device is in Python's own worker,
 * which waits by switching stacks (gpu_jspi.ts), or in a separate worker, with shared memory to
 * wait on (gpu_worker_client.ts). A call that waits returns an AsyncResult, which
 * backends/webgpu/host_page.py awaits. An error that no pending call reports is thrown by the next
 * call, with its kind.
 */

import type { GpuTransport } from "../protocol";
import type { DeviceCounters } from "./gpu_device";
import type { GpuInfo } from "./gpu_info";
import type { BufferCopy, BufferRange } from "./gpu_ranges";

/** A result that is polled, without switching stacks. */
export interface PollableResult<T> {
  /** Wait briefly and return whether the result is available; interrupts occur between calls. */
  ready(): boolean;
  take(): T;
}

export type AsyncResult<T> = Promise<T> | PollableResult<T>;

/** Maximum number of runs in flight. */
export const MAX_IN_FLIGHT = 2;

export interface GpuHost {
  readonly transport: GpuTransport;
  readonly info: GpuInfo;
  readonly calls: number;
  /** Why the device was lost, or null. */
  lost(): string | null;
  /** The device's counters; `calls` is available without waiting. */
  counters(): AsyncResult<DeviceCounters>;
  /** Create a zero-filled buffer; returns its handle. */
  createBuffer(size: number): number;
  freeBuffer(buffer: number): void;
  write(buffer: number, bytes: Uint8Array): void;
  /** Read ranges of buffers back, concatenated. */
  read(ranges: readonly BufferRange[]): AsyncResult<Uint8Array>;
  load(commands: Uint8Array<ArrayBuffer>): AsyncResult<number>;
  unload(program: number): void;
  /** Whether `waitForSlot` must be awaited before the next run. */
  isQueueFull(): boolean;
  waitForSlot(): AsyncResult<null>;
  /** Submit copies and then the program. `buffers` are the handles of the arena and the slots. */
  run(program: number, buffers: readonly number[], copies: readonly BufferCopy[]): void;
  /** Wait until the errors of all earlier calls have been reported, and throw the first one. */
  flushErrors(): AsyncResult<null>;
  /** Replace a lost device; all handles become invalid. */
  reopen(): AsyncResult<null>;
  /** Lose the device deliberately, for tests. */
  destroy(): void;
}
