/** What Python's worker asks of the device's worker. `answer` is memory that they share. */

import type { GpuFacts } from "./gpu_info";
import type { BufferCopy, Piece } from "./gpu_ranges";

export type ToGpu =
  | { readonly kind: "open"; readonly status: SharedArrayBuffer }
  | { readonly kind: "create"; readonly buffer: number; readonly size: number }
  | { readonly kind: "free"; readonly buffer: number }
  | { readonly kind: "write"; readonly buffer: number; readonly bytes: Uint8Array }
  | { readonly kind: "read"; readonly pieces: readonly Piece[];
      readonly answer: SharedArrayBuffer }
  | { readonly kind: "load"; readonly program: number; readonly commands: Uint8Array;
      readonly answer: SharedArrayBuffer }
  | { readonly kind: "unload"; readonly program: number }
  | { readonly kind: "run"; readonly program: number; readonly places: readonly number[];
      readonly copies: readonly BufferCopy[] }
  | { readonly kind: "counts"; readonly answer: SharedArrayBuffer }
  | { readonly kind: "settled"; readonly answer: SharedArrayBuffer }
  | { readonly kind: "renew"; readonly answer: SharedArrayBuffer }
  | { readonly kind: "destroy" };

/** How its start went; all else goes by shared memory, as Python's worker may be waiting. */
export type FromGpu =
  | { readonly kind: "ready"; readonly facts: GpuFacts }
  | { readonly kind: "failed"; readonly reason: string };
