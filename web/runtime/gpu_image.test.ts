import { describe, expect, it } from "vitest";
import { isDispatch, readImage, usesOf, type Dispatch } from "./gpu_image";

const DISPATCH: Dispatch = {
  shader: 0,
  bindings: [
    { buffer: 1, offset: 0, size: 16, writes: false },
    { buffer: 0, offset: 256, size: 16, writes: true },
  ],
  groups: [4, 1, 1],
};

describe("an image", () => {
  it("is a line of JSON before the constants, whatever these hold", () => {
    const line = `${JSON.stringify({ shaders: ["ü"], steps: [DISPATCH] })}\n`;
    const { shaders, steps } = readImage(new TextEncoder().encode(`${line}{}\n\n`));
    expect(shaders).toEqual(["ü"]);
    expect(steps).toEqual([DISPATCH]);
  });

  it("tells dispatches from copies, and what a dispatch writes", () => {
    const [source, target] = DISPATCH.bindings;
    if (source === undefined || target === undefined) throw new Error("there are two");
    expect(isDispatch(DISPATCH)).toBe(true);
    expect(isDispatch({ source, target })).toBe(false);
    expect(usesOf(DISPATCH)).toBe("rw");
  });

  it("that is none is refused", () => {
    expect(() => readImage(new Uint8Array(3))).toThrow("a line of JSON");
  });
});
