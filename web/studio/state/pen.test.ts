import { describe, expect, it } from "vitest";
import { startStroke, blankPen, extendStroke, handleKey, initialPen } from "./pen";

const typed = (...keys: string[]): typeof initialPen =>
  keys.reduce((pen, key) => handleKey(pen, key) ?? pen, initialPen);

describe("the pen", () => {
  it("draws by pointer, stroke after stroke", () => {
    const once = extendStroke(startStroke(blankPen, { x: 0.1, y: 0.1 }), { x: 0.2, y: 0.1 });
    const twice = startStroke(once, { x: 0.5, y: 0.5 });
    expect(twice.strokes.map((stroke) => stroke.length)).toEqual([2, 1]);
  });
  it("replaces the sample with the user's first stroke", () => {
    expect(initialPen.strokes).toHaveLength(1);
    expect(startStroke(initialPen, { x: 0, y: 0 }).strokes).toEqual([[{ x: 0, y: 0 }]]);
  });
  it("draws by keyboard: Space lowers and lifts it, arrows move it", () => {
    const pen = typed("ArrowUp", " ", "ArrowDown", "ArrowDown", " ", "ArrowRight");
    expect(pen.strokes.map((stroke) => stroke.length)).toEqual([3]);
    expect(pen.position.x).toBeCloseTo(0.55);
    expect(pen.isDown).toBe(false);
  });
  it("stays on the surface", () => {
    const far = typed(...Array.from({ length: 40 }, () => "ArrowLeft"));
    expect(far.position).toEqual({ x: 0, y: 0.5 });
  });
  it("is cleared by Delete and ignores other keys", () => {
    expect(typed(" ", "Delete").strokes).toEqual([]);
    expect(handleKey(initialPen, "a")).toBeNull();
  });
});
