import { describe, expect, it } from "vitest";
import { sizeOf, triples } from "./gpu_ranges";

describe("numbers in threes", () => {
  it("come in order, and may be none", () => {
    expect(triples([1, 2, 3, 4, 5, 6])).toEqual([[1, 2, 3], [4, 5, 6]]);
    expect(triples([])).toEqual([]);
  });

  it("that are none are refused", () => {
    expect(() => triples([1, 2, 3, 4])).toThrow("4 numbers are no threes");
  });

  it("are pieces of so many bytes", () => {
    expect(sizeOf([[7, 0, 8], [9, 4, 12]])).toBe(20);
  });
});
