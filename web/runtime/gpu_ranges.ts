/** Threes of numbers, which Python hands over one after the other. */

/** The first bytes of a buffer that go to another. */
export type BufferCopy = readonly [source: number, target: number, size: number];

/** Bytes of a buffer. */
export type Piece = readonly [buffer: number, begin: number, size: number];

export type Triple = readonly [number, number, number];

export function triples(numbers: readonly number[]): readonly Triple[] {
  const found: Triple[] = [];
  for (let i = 0; i < numbers.length; i += 3) {
    const [a, b, c] = [numbers[i], numbers[i + 1], numbers[i + 2]];
    if (a === undefined || b === undefined || c === undefined) {
      throw new RangeError(`${numbers.length} numbers are no threes`);
    }
    found.push([a, b, c]);
  }
  return found;
}

/** The bytes that pieces have together. */
export const sizeOf = (pieces: readonly Piece[]): number =>
  pieces.reduce((sum, [, , size]) => sum + size, 0);
