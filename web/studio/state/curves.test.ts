import { describe, expect, it } from "vitest";
import {
  appendPoint, emptyCurve, epochAxisEnd, lastY, lossAxisTop, MAX_POINTS, mergeCurves, smooth,
} from "./curves";

const curveOf = (points: number): typeof emptyCurve => {
  let curve = emptyCurve;
  for (let i = 0; i < points; i++) curve = appendPoint(curve, i, i / 2);
  return curve;
};

describe("a curve", () => {
  it("keeps every point if there are few", () => expect(curveOf(5).x).toEqual([0, 1, 2, 3, 4]));
  it("averages adjacent points when there are many, and stays in order", () => {
    const { x, y } = curveOf(3 * MAX_POINTS);
    expect(x.length).toBeLessThanOrEqual(MAX_POINTS);
    expect(x).toEqual([...x].sort((a, b) => a - b));
    x.forEach((value, i) => expect(y[i]).toBeCloseTo(value / 2));
    expect(lastY({ x, y })).toBe((3 * MAX_POINTS - 1) / 2);
  });
});

it("shows ten epochs, then slightly more than the current epoch, without a jump", () => {
  expect([0, 5, 9].map(epochAxisEnd)).toEqual([10, 10, 10]);
  expect(epochAxisEnd(100)).toBeCloseTo(110);
});

it("raises the top of the loss axis and never lowers it", () => {
  expect([2.3, null, 4, 0.1].reduce(lossAxisTop, 0)).toBeCloseTo(4.2);
  expect(lossAxisTop(0, 0.1)).toBe(2.5);
});

it("approaches the target axis in small steps, and stops there", () => {
  const values = [1];
  while (values.at(-1) !== 2 && values.length < 100) {
    values.push(smooth(values.at(-1) ?? 0, 2, 0.2));
  }
  expect(values.at(-1)).toBe(2);
  values.slice(1).forEach((value, i) =>
    expect(value - (values[i] ?? 0)).toBeLessThanOrEqual(0.2 + 1e-9));
});

it("merges two curves into one table, with gaps", () => {
  const table = mergeCurves({ x: [1, 2, 4], y: [10, 20, 40] }, { x: [2, 3], y: [5, 6] });
  expect(table).toEqual([[1, 2, 3, 4], [10, 20, null, 40], [null, 5, 6, null]]);
});
