import { describe, expect, it } from "vitest";
import type { Stroke } from "./raster";
import { rasterize, SIDE } from "./raster";
import { sampleDigit } from "./sample_digit";

const rows = (pixels: readonly number[]): number[][] =>
  Array.from({ length: SIDE }, (_, r) => pixels.slice(r * SIDE, (r + 1) * SIDE));
const drawn = (strokes: readonly Stroke[]): number[][] => rows(rasterize(strokes) ?? []);
const total = (picture: number[][]): number => picture.flat().reduce((sum, v) => sum + v, 0);

describe("a rasterized drawing", () => {
  it("is null if nothing is drawn", () =>
    expect([rasterize([]), rasterize([[]])]).toEqual([null, null]));
  it("has 64 values in 0..1", () => {
    const pixels = rasterize(sampleDigit) ?? [];
    expect(pixels).toHaveLength(64);
    expect(pixels.every((value) => value >= 0 && value <= 1)).toBe(true);
  });
  it("fills the height and is inked like the data: 15 to 25 cells", () => {
    const picture = drawn(sampleDigit);
    expect(Math.max(...picture[0] ?? [])).toBeGreaterThan(0.5);
    expect(Math.max(...picture[7] ?? [])).toBeGreaterThan(0.5);
    expect(total(picture)).toBeGreaterThan(15);
    expect(total(picture)).toBeLessThan(25);
  });
  it("does not depend on the position and size of the drawing", () => {
    const shrunk = sampleDigit.map((stroke) =>
      stroke.map((p) => ({ x: p.x / 5, y: 0.1 + p.y / 5 })));
    const large = drawn(sampleDigit).flat();
    drawn(shrunk).flat().forEach((value, i) => expect(value).toBeCloseTo(large[i] ?? -1, 5));
  });
  it("keeps a single stroke upright and centered", () => {
    const one = drawn([[{ x: 0.1, y: 0.2 }, { x: 0.1, y: 0.8 }]]);
    const columns = one[4] ?? [];
    expect(columns).toEqual([...columns].reverse());
    expect(columns[0]).toBe(0);
    expect(Math.min(...one.map((row) => Math.max(...row)))).toBeGreaterThan(0.4);
  });
  it("does not stretch a dot or a dash to the size of a digit", () => {
    expect(total(drawn([[{ x: 0.5, y: 0.5 }]]))).toBeLessThan(8);
    const dash = drawn([[{ x: 0.1, y: 0.5 }, { x: 0.9, y: 0.5 }]]);
    expect(Math.max(...dash[0] ?? [])).toBe(0);
  });
});
