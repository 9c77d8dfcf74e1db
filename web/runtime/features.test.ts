import { describe, expect, it } from "vitest";
import { chooseBuild, chooseThreadCount, probeFeatures } from "./features";

describe("the choice of the engine's build", () => {
  it.each([
    [{ simd: true, relaxed: true, threads: true }, "threads"],
    [{ simd: true, relaxed: true, threads: false }, "relaxed"],
    [{ simd: true, relaxed: false, threads: true }, "simd"],
    [{ simd: true, relaxed: false, threads: false }, "simd"],
  ])("for %o is %s", (features, build) => expect(chooseBuild(features)).toBe(build));

  it("gives a hint where there is no SIMD", () => {
    const none = { simd: false, relaxed: false, threads: false };
    const message = "no WebAssembly SIMD; use a browser from 2023 or later";
    expect(() => chooseBuild(none)).toThrow(message);
  });

  it("finds no threads on a page that is not isolated", () => {
    expect(probeFeatures(false).threads).toBe(false);
    expect(probeFeatures(false).simd).toBe(true);
    expect(probeFeatures(true).threads).toBe(true);
  });

  it.each([
    ["threads", null, 4, 4],
    ["threads", null, 32, 8],
    ["threads", 12, 4, 12],
    ["threads", 0, 4, 1],
    ["relaxed", 4, 4, 1],
    ["simd", null, 4, 1],
  ] as const)("%s, requested %s of %s cores: %s", (build, requested, cores, threads) =>
    expect(chooseThreadCount(build, requested, cores)).toBe(threads));
});
