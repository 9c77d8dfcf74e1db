/**
 * How the bytes of a program reach the helpers: shared memory beside the engine's own, with the
 * table slot in front. The helpers wait inside WebAssembly, where no message could arrive.
 */

/** Far above any program: code only, for constants travel in the engine's memory. */
const MOST_BYTES = 16 << 20;
const HEADER_BYTES = 4;

export const newStaging = (): SharedArrayBuffer => new SharedArrayBuffer(HEADER_BYTES + MOST_BYTES);

export function stage(staging: SharedArrayBuffer, slot: number, program: Uint8Array): void {
  if (program.length > MOST_BYTES) {
    throw new RangeError(`a program of ${program.length} bytes is over the limit of ${MOST_BYTES}`);
  }
  new Int32Array(staging, 0, 1)[0] = slot;
  new Uint8Array(staging, HEADER_BYTES).set(program);
}

/** The slot and a copy of the program: WebAssembly does not compile out of shared memory. */
export function staged(
  staging: SharedArrayBuffer, size: number,
): [slot: number, program: Uint8Array<ArrayBuffer>] {
  const slot = new Int32Array(staging, 0, 1)[0] ?? 0;
  const program = new Uint8Array(size);
  program.set(new Uint8Array(staging, HEADER_BYTES, size));
  return [slot, program];
}
