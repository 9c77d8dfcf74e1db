import { describe, expect, it } from "vitest";
import { appended, eased, empty, epochsShown, joined, lastY, LIMIT, lossShown } from "./curves";

const grown = (points: number): typeof empty => {
  let curve = empty;
  for (let i = 0; i < points; i++) curve = appended(curve, i, i / 2);
  return curve;
};

describe("a curve", () => {
  it("keeps every point while they are few", () => expect(grown(5).x).toEqual([0, 1, 2, 3, 4]));
  it("averages neighbours when they are many, and stays in order", () => {
    const { x, y } = grown(3 * LIMIT);
    expect(x.length).toBeLessThanOrEqual(LIMIT);
    expect(x).toEqual([...x].sort((a, b) => a - b));
    x.forEach((at, i) => expect(y[i]).toBeCloseTo(at / 2));
    expect(lastY({ x, y })).toBe((3 * LIMIT - 1) / 2);
  });
});

it("shows ten epochs, then a little more than were trained, without a jump", () => {
  expect([0, 5, 9].map(epochsShown)).toEqual([10, 10, 10]);
  expect(epochsShown(100)).toBeCloseTo(110);
});

it("raises the top of the loss axis and never lowers it", () => {
  expect([2.3, null, 4, 0.1].reduce(lossShown, 0)).toBeCloseTo(4.2);
  expect(lossShown(0, 0.1)).toBe(2.5);
});

it("comes to the axis that is due in small steps, and stops there", () => {
  const way = [1];
  while (way.at(-1) !== 2 && way.length < 100) way.push(eased(way.at(-1) ?? 0, 2, 0.2));
  expect(way.at(-1)).toBe(2);
  way.slice(1).forEach((to, i) => expect(to - (way[i] ?? 0)).toBeLessThanOrEqual(0.2 + 1e-9));
});

it("puts two curves on one table, with gaps", () => {
  const table = joined({ x: [1, 2, 4], y: [10, 20, 40] }, { x: [2, 3], y: [5, 6] });
  expect(table).toEqual([[1, 2, 3, 4], [10, 20, null, 40], [null, 5, 6, null]]);
});
