/**
 * A staging buffer that passes programs to the helper threads: shared memory with the table slot
 * followed by the program's bytes. The threads block in WebAssembly and cannot receive messages.
 */

/** Far above the size of any program, which is only code: constants are in the engine's memory. */
const MAX_PROGRAM_BYTES = 16 << 20;
const HEADER_BYTES = 4;

export const newStagingBuffer = (): SharedArrayBuffer =>
  new SharedArrayBuffer(HEADER_BYTES + MAX_PROGRAM_BYTES);

export function writeProgram(staging: SharedArrayBuffer, slot: number, program: Uint8Array): void {
  if (program.length > MAX_PROGRAM_BYTES) {
    throw new RangeError(
      `a program of ${program.length} bytes is over the limit of ${MAX_PROGRAM_BYTES}`);
  }
  new Int32Array(staging, 0, 1)[0] = slot;
  new Uint8Array(staging, HEADER_BYTES).set(program);
}

/** The slot and a copy of the program: WebAssembly cannot compile from shared memory. */
export function readProgram(
  staging: SharedArrayBuffer, size: number,
): [slot: number, program: Uint8Array<ArrayBuffer>] {
  const slot = new Int32Array(staging, 0, 1)[0] ?? 0;
  const program = new Uint8Array(size);
  program.set(new Uint8Array(staging, HEADER_BYTES, size));
  return [slot, program];
}
