import { describe, expect, it } from "vitest";
import { chooseBuild, chooseThreads, probe } from "./features";

describe("the choice of the engine", () => {
  it.each([
    [{ simd: true, relaxed: true, threads: true }, "threads"],
    [{ simd: true, relaxed: true, threads: false }, "relaxed"],
    [{ simd: true, relaxed: false, threads: true }, "simd"],
    [{ simd: true, relaxed: false, threads: false }, "simd"],
  ])("%o takes %s", (features, build) => expect(chooseBuild(features)).toBe(build));

  it("names the way out where there is no SIMD", () => {
    const none = { simd: false, relaxed: false, threads: false };
    expect(() => chooseBuild(none)).toThrow("no WebAssembly SIMD; take one from 2023 or later");
  });

  it("finds no threads on a page that is not isolated", () => {
    expect(probe(false).threads).toBe(false);
    expect(probe(false).simd).toBe(true);
    expect(probe(true).threads).toBe(true);
  });

  it.each([
    ["threads", null, 4, 4],
    ["threads", null, 32, 8],
    ["threads", 12, 4, 12],
    ["threads", 0, 4, 1],
    ["relaxed", 4, 4, 1],
    ["simd", null, 4, 1],
  ] as const)("%s, asked %s of %s cores: %s", (build, asked, cores, threads) =>
    expect(chooseThreads(build, asked, cores)).toBe(threads));
});
