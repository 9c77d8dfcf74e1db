/** Messages from Python's worker to the GPU worker. `reply` is memory that the two share. */

import type { GpuInfo } from "./gpu_info";
import type { BufferCopy, BufferRange } from "./gpu_ranges";

export type ToGpuWorker =
  | { readonly kind: "open"; readonly status: SharedArrayBuffer }
  | { readonly kind: "create"; readonly buffer: number; readonly size: number }
  | { readonly kind: "free"; readonly buffer: number }
  | { readonly kind: "write"; readonly buffer: number; readonly bytes: Uint8Array }
  | { readonly kind: "read"; readonly ranges: readonly BufferRange[];
      readonly reply: SharedArrayBuffer }
  | { readonly kind: "load"; readonly program: number; readonly commands: Uint8Array;
      readonly reply: SharedArrayBuffer }
  | { readonly kind: "unload"; readonly program: number }
  | { readonly kind: "run"; readonly program: number; readonly buffers: readonly number[];
      readonly copies: readonly BufferCopy[] }
  | { readonly kind: "counters"; readonly reply: SharedArrayBuffer }
  | { readonly kind: "flush-errors"; readonly reply: SharedArrayBuffer }
  | { readonly kind: "reopen"; readonly reply: SharedArrayBuffer }
  | { readonly kind: "destroy" };

/** The outcome of the start. All else uses shared memory, as Python's worker may be blocked. */
export type FromGpuWorker =
  | { readonly kind: "ready"; readonly info: GpuInfo }
  | { readonly kind: "failed"; readonly reason: string };
