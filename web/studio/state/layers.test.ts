import { describe, expect, it } from "vitest";
import {
  addLayer, createLayer, editLayer, layerTypes, moveLayer, parseNumber, removeLayer, summary,
  withIds,
} from "./layers";

const rows = withIds(["Flatten", "Dropout", "Dense"].map((type) => ({ type, args: {} })));
const types = (list: typeof rows): string[] => list.map((row) => row.spec.type);

describe("the list of layers", () => {
  it("inserts a new layer before the last one, with a new id", () => {
    const next = addLayer(rows, { type: "Conv2D", args: {} });
    expect(types(next)).toEqual(["Flatten", "Dropout", "Conv2D", "Dense"]);
    expect(new Set(next.map((row) => row.id)).size).toBe(4);
  });
  it("accepts a first layer", () =>
    expect(types(addLayer([], { type: "Dense", args: {} }))).toEqual(["Dense"]));
  it("removes a layer", () => expect(types(removeLayer(rows, 1))).toEqual(["Flatten", "Dense"]));
  it.each([
    [0, 1, ["Dropout", "Flatten", "Dense"]],
    [2, -1, ["Flatten", "Dense", "Dropout"]],
    [2, -9, ["Dense", "Flatten", "Dropout"]],
  ])("moves layer %i by %i", (id, offset, order) =>
    expect(types(moveLayer(rows, id, offset))).toEqual(order));
  it.each([[0, -1], [2, 1], [7, 1]])("is unchanged if layer %i cannot move by %i", (id, offset) =>
    expect(moveLayer(rows, id, offset)).toBe(rows));
  it("changes one argument of one layer", () => {
    const next = editLayer(rows, 2, "units", 5);
    expect(next.map((row) => row.spec.args)).toEqual([{}, {}, { units: 5 }]);
  });
});

it("summarizes the arguments of every layer type", () => {
  expect(layerTypes.map((type) => summary(createLayer(type)))).toEqual(
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
])("parses %j in a number field", (text, parsed) => {
  const size = { initial: 1, min: 1, max: 9, step: 1 };
  const field = { kind: "number", name: "units", label: "Units", ...size } as const;
  expect(parseNumber(text, field)).toBe(parsed);
});
