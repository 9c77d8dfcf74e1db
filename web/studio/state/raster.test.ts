import { describe, expect, it } from "vitest";
import type { Stroke } from "./raster";
import { rasterise, SIDE } from "./raster";
import { sample } from "./sample_digit";

const rows = (pixels: readonly number[]): number[][] =>
  Array.from({ length: SIDE }, (_, r) => pixels.slice(r * SIDE, (r + 1) * SIDE));
const drawn = (strokes: readonly Stroke[]): number[][] => rows(rasterise(strokes) ?? []);
const total = (picture: number[][]): number => picture.flat().reduce((sum, v) => sum + v, 0);

describe("a drawing as the network sees it", () => {
  it("is nothing when nothing is drawn", () =>
    expect([rasterise([]), rasterise([[]])]).toEqual([null, null]));
  it("has 64 values in 0..1", () => {
    const pixels = rasterise(sample) ?? [];
    expect(pixels).toHaveLength(64);
    expect(pixels.every((value) => value >= 0 && value <= 1)).toBe(true);
  });
  it("fills the height and is inked like the data: 15 to 25 cells' worth", () => {
    const picture = drawn(sample);
    expect(Math.max(...picture[0] ?? [])).toBeGreaterThan(0.5);
    expect(Math.max(...picture[7] ?? [])).toBeGreaterThan(0.5);
    expect(total(picture)).toBeGreaterThan(15);
    expect(total(picture)).toBeLessThan(25);
  });
  it("does not depend on where or how large it was drawn", () => {
    const shrunk = sample.map((stroke) => stroke.map((p) => ({ x: p.x / 5, y: 0.1 + p.y / 5 })));
    const large = drawn(sample).flat();
    drawn(shrunk).flat().forEach((value, i) => expect(value).toBeCloseTo(large[i] ?? -1, 5));
  });
  it("leaves a lone stroke upright and in the middle", () => {
    const one = drawn([[{ x: 0.1, y: 0.2 }, { x: 0.1, y: 0.8 }]]);
    const columns = one[4] ?? [];
    expect(columns).toEqual([...columns].reverse());
    expect(columns[0]).toBe(0);
    expect(Math.min(...one.map((row) => Math.max(...row)))).toBeGreaterThan(0.4);
  });
  it("takes a dot and a dash without blowing them up to a digit", () => {
    expect(total(drawn([[{ x: 0.5, y: 0.5 }]]))).toBeLessThan(8);
    const dash = drawn([[{ x: 0.1, y: 0.5 }, { x: 0.9, y: 0.5 }]]);
    expect(Math.max(...dash[0] ?? [])).toBe(0);
  });
});
