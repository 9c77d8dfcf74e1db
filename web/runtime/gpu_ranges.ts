/** Buffer ranges and buffer copies, which Python passes as flat lists of triples. */

/** A copy of the first `size` bytes of one buffer to another. */
export type BufferCopy = readonly [source: number, target: number, size: number];

/** A byte range of a buffer. */
export type BufferRange = readonly [buffer: number, begin: number, size: number];

export type Triple = readonly [number, number, number];

export function parseTriples(numbers: readonly number[]): readonly Triple[] {
  const parsed: Triple[] = [];
  for (let i = 0; i < numbers.length; i += 3) {
    const [a, b, c] = [numbers[i], numbers[i + 1], numbers[i + 2]];
    if (a === undefined || b === undefined || c === undefined) {
      throw new RangeError(`${numbers.length} numbers are not a multiple of three`);
    }
    parsed.push([a, b, c]);
  }
  return parsed;
}

/** The sum of the ranges' sizes, in bytes. */
export const totalSize = (ranges: readonly BufferRange[]): number =>
  ranges.reduce((sum, [, , size]) => sum + size, 0);
