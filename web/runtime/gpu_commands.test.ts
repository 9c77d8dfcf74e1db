import { describe, expect, it } from "vitest";
import { isDispatch, parseCommands, accessModes, type Dispatch } from "./gpu_commands";

const DISPATCH: Dispatch = {
  shader: 0,
  bindings: [
    { buffer: 1, offset: 0, size: 16, writes: false },
    { buffer: 0, offset: 256, size: 16, writes: true },
  ],
  groups: [4, 1, 1],
};

describe("the commands of a program", () => {
  it("are parsed from JSON", () => {
    const line = JSON.stringify({
      shaders: ["ü"], names: ["u"], bindings: [[1, 0, 16, 0], [0, 256, 16, 1]],
      steps: [[0, 4, 1, 1, 0, 1], [-1, 0, 1]], order: [0, 1, 0], timestamp_buffer_bytes: 0,
    });
    const { shaders, steps } = parseCommands(new TextEncoder().encode(line));
    const [source, target] = DISPATCH.bindings;
    expect(shaders).toEqual(["ü"]);
    expect(steps).toEqual([DISPATCH, { source, target }, DISPATCH]);
    expect(steps[2]).toBe(steps[0]);
  });

  it("are dispatches and copies, with the access mode of each binding", () => {
    const [source, target] = DISPATCH.bindings;
    if (source === undefined || target === undefined) throw new Error("expected two bindings");
    expect(isDispatch(DISPATCH)).toBe(true);
    expect(isDispatch({ source, target })).toBe(false);
    expect(accessModes(DISPATCH)).toBe("rw");
  });
});
