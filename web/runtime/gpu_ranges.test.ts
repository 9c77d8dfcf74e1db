import { describe, expect, it } from "vitest";
import { totalSize, parseTriples } from "./gpu_ranges";

describe("a flat list of triples", () => {
  it("is parsed in order, and may be empty", () => {
    expect(parseTriples([1, 2, 3, 4, 5, 6])).toEqual([[1, 2, 3], [4, 5, 6]]);
    expect(parseTriples([])).toEqual([]);
  });

  it("is rejected if its length is not a multiple of three", () => {
    expect(() => parseTriples([1, 2, 3, 4])).toThrow("4 numbers are not a multiple of three");
  });

  it("gives ranges, whose sizes are added up", () => {
    expect(totalSize([[7, 0, 8], [9, 4, 12]])).toBe(20);
  });
});
