/** The GPU's time before and after each dispatch of a program whose commands have `stamps`. */

import { COPY_SRC, QUERY_RESOLVE } from "./gpu_flags";

/** Queries of one set, at most (w3.org/TR/webgpu, createQuerySet). */
const MOST = 4096;
const STAMP_BYTES = 8;

export class Stamps {
  private readonly sets: readonly GPUQuerySet[];
  private readonly resolved: GPUBuffer;

  constructor(device: GPUDevice, private readonly size: number) {
    const stamps = size / STAMP_BYTES;
    this.sets = Array.from({ length: Math.ceil(stamps / MOST) }, (_, i) =>
      device.createQuerySet({ type: "timestamp", count: Math.min(MOST, stamps - i * MOST) }));
    this.resolved = device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
  }

  /** The pass of the dispatch of that number. */
  around(dispatch: number): GPUComputePassDescriptor {
    const first = 2 * dispatch;
    const querySet = this.sets[Math.floor(first / MOST)];
    if (querySet === undefined) throw new RangeError(`there are no stamps of dispatch ${dispatch}`);
    const beginningOfPassWriteIndex = first % MOST;
    return { timestampWrites: {
      querySet, beginningOfPassWriteIndex, endOfPassWriteIndex: beginningOfPassWriteIndex + 1,
    } };
  }

  /** Write them to a buffer, in nanoseconds. */
  tell(encoder: GPUCommandEncoder, target: GPUBuffer): void {
    this.sets.forEach((set, i) =>
      encoder.resolveQuerySet(set, 0, set.count, this.resolved, i * MOST * STAMP_BYTES));
    encoder.copyBufferToBuffer(this.resolved, 0, target, 0, this.size);
  }
}
