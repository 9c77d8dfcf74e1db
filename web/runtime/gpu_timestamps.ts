/** Timestamp queries: the GPU's time before and after each dispatch of a profiled program. */

import { COPY_SRC, QUERY_RESOLVE } from "./gpu_flags";

/** Maximum number of queries in a query set (w3.org/TR/webgpu, createQuerySet). */
const MAX_QUERIES = 4096;
const TIMESTAMP_BYTES = 8;

export class TimestampQueries {
  private readonly querySets: readonly GPUQuerySet[];
  private readonly resolved: GPUBuffer;

  constructor(device: GPUDevice, private readonly size: number) {
    const count = size / TIMESTAMP_BYTES;
    this.querySets = Array.from({ length: Math.ceil(count / MAX_QUERIES) }, (_, i) =>
      device.createQuerySet(
        { type: "timestamp", count: Math.min(MAX_QUERIES, count - i * MAX_QUERIES) }));
    this.resolved = device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
  }

  /** The compute pass of the dispatch with this index. */
  passDescriptor(dispatch: number): GPUComputePassDescriptor {
    const first = 2 * dispatch;
    const querySet = this.querySets[Math.floor(first / MAX_QUERIES)];
    if (querySet === undefined) throw new RangeError(`dispatch ${dispatch} has no timestamps`);
    const beginningOfPassWriteIndex = first % MAX_QUERIES;
    return { timestampWrites: {
      querySet, beginningOfPassWriteIndex, endOfPassWriteIndex: beginningOfPassWriteIndex + 1,
    } };
  }

  /** Write all timestamps to a buffer, in nanoseconds. */
  resolveTo(encoder: GPUCommandEncoder, target: GPUBuffer): void {
    this.querySets.forEach((set, i) =>
      encoder.resolveQuerySet(set, 0, set.count, this.resolved, i * MAX_QUERIES * TIMESTAMP_BYTES));
    encoder.copyBufferToBuffer(this.resolved, 0, target, 0, this.size);
  }
}
