import { describe, expect, it } from "vitest";
import { begun, cleared, drawnTo, keyed, opening } from "./pen";

const typed = (...keys: string[]): typeof opening =>
  keys.reduce((pen, key) => keyed(pen, key) ?? pen, opening);

describe("the pen", () => {
  it("draws by pointer, stroke after stroke", () => {
    const once = drawnTo(begun(cleared, { x: 0.1, y: 0.1 }), { x: 0.2, y: 0.1 });
    const twice = begun(once, { x: 0.5, y: 0.5 });
    expect(twice.strokes.map((stroke) => stroke.length)).toEqual([2, 1]);
  });
  it("replaces the sample with the first stroke of one's own", () => {
    expect(opening.strokes).toHaveLength(1);
    expect(begun(opening, { x: 0, y: 0 }).strokes).toEqual([[{ x: 0, y: 0 }]]);
  });
  it("draws by keys: Space lowers and lifts it, arrows move it", () => {
    const pen = typed("ArrowUp", " ", "ArrowDown", "ArrowDown", " ", "ArrowRight");
    expect(pen.strokes.map((stroke) => stroke.length)).toEqual([3]);
    expect(pen.at.x).toBeCloseTo(0.55);
    expect(pen.down).toBe(false);
  });
  it("stays on the surface", () => {
    const far = typed(...Array.from({ length: 40 }, () => "ArrowLeft"));
    expect(far.at).toEqual({ x: 0, y: 0.5 });
  });
  it("is cleared by Delete and leaves other keys alone", () => {
    expect(typed(" ", "Delete").strokes).toEqual([]);
    expect(keyed(opening, "a")).toBeNull();
  });
});
