import { describe, expect, it } from "vitest";
import {
  added, edited, fresh, layerTypes, moved, numbered, parseNumber, removed, summary,
} from "./layers";

const rows = numbered(["Flatten", "Dropout", "Dense"].map((type) => ({ type, args: {} })));
const types = (list: typeof rows): string[] => list.map((row) => row.spec.type);

describe("the list of layers", () => {
  it("takes a new layer in before the last, under an id of its own", () => {
    const next = added(rows, { type: "Conv2D", args: {} });
    expect(types(next)).toEqual(["Flatten", "Dropout", "Conv2D", "Dense"]);
    expect(new Set(next.map((row) => row.id)).size).toBe(4);
  });
  it("takes a first layer", () =>
    expect(types(added([], { type: "Dense", args: {} }))).toEqual(["Dense"]));
  it("loses a layer", () => expect(types(removed(rows, 1))).toEqual(["Flatten", "Dense"]));
  it.each([
    [0, 1, ["Dropout", "Flatten", "Dense"]],
    [2, -1, ["Flatten", "Dense", "Dropout"]],
    [2, -9, ["Dense", "Flatten", "Dropout"]],
  ])("moves layer %i by %i", (id, by, order) => expect(types(moved(rows, id, by))).toEqual(order));
  it.each([[0, -1], [2, 1], [7, 1]])("stays as it is when layer %i cannot move by %i", (id, by) =>
    expect(moved(rows, id, by)).toBe(rows));
  it("changes one argument of one layer", () => {
    const next = edited(rows, 2, "units", 5);
    expect(next.map((row) => row.spec.args)).toEqual([{}, {}, { units: 5 }]);
  });
});

it("says of every kind of layer what it is set to", () => {
  expect(layerTypes.map((type) => summary(fresh(type)))).toEqual(
    ["32 · 3×3 · relu", "2×2", "", "64 · relu", "0.25"]);
  const args = { filters: 8, kernel_size: 5, strides: 2, padding: "same", activation: "linear" };
  expect(summary({ type: "Conv2D", args })).toBe("8 · 5×5 · stride 2 · same");
  expect(summary({ type: "MaxPooling2D", args: { pool_size: 3, strides: 1, padding: "valid" } }))
    .toBe("3×3 · stride 1");
});

it.each([
  ["12", 12], [" 3.5 ", 3.5], ["0", 0],
  ["", "Units takes a whole number from 1 to 9"],
  ["three", "Units takes a whole number from 1 to 9"],
])("reads %j in a number field", (text, read) => {
  const size = { start: 1, min: 1, max: 9, step: 1 };
  expect(parseNumber(text, { kind: "number", name: "units", label: "Units", ...size })).toBe(read);
});
