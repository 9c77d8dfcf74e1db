import { afterEach, describe, expect, it, vi } from "vitest";
import { chooseBuild, chooseThreadCount, probeFeatures, withoutThreads } from "./features";

afterEach(() => vi.unstubAllGlobals());

describe("the choice of the engine's build", () => {
  it.each([
    [{ simd: true, relaxed: true, threadProblem: null }, "threads"],
    [{ simd: true, relaxed: true, threadProblem: "none" }, "relaxed"],
    [{ simd: true, relaxed: false, threadProblem: null }, "threads-simd"],
    [{ simd: true, relaxed: false, threadProblem: "none" }, "simd"],
  ])("for %o is %s", (features, build) => expect(chooseBuild(features)).toBe(build));

  it.each([
    ["threads", "relaxed"], ["relaxed", "relaxed"], ["threads-simd", "simd"], ["simd", "simd"],
  ] as const)("%s falls back to %s where no thread starts", (build, fallback) =>
    expect(withoutThreads(build)).toBe(fallback));

  it("gives a hint where there is no SIMD", () => {
    const none = { simd: false, relaxed: false, threadProblem: null };
    const message = "no WebAssembly SIMD; use a browser from 2023 or later";
    expect(() => chooseBuild(none)).toThrow(message);
  });

  it("gives a hint where there is no WebAssembly", () => {
    vi.stubGlobal("WebAssembly", undefined);
    expect(() => probeFeatures(true)).toThrow("no WebAssembly");
  });

  it("finds no threads on a page that is not isolated", () => {
    expect(probeFeatures(false).threadProblem).toContain("cross-origin isolation");
    expect(probeFeatures(false).simd).toBe(true);
    expect(probeFeatures(true).threadProblem).toBe(null);
  });

  it("finds no threads where an isolated page has no shared memory", () => {
    vi.stubGlobal("SharedArrayBuffer", undefined);
    expect(probeFeatures(true).threadProblem).toContain("no shared memory");
  });

  it("probes each feature by a module of its own", () => {
    const opcodes = { simd: "253,98", relaxed: "253,128,2", threads: "254,16" };
    for (const [missing, opcode] of Object.entries(opcodes)) {
      const validate = (bytes: Uint8Array): boolean => !bytes.join().includes(opcode);
      vi.stubGlobal("WebAssembly", { validate });
      const { simd, relaxed, threadProblem } = probeFeatures(true);
      const found = { simd, relaxed, threads: threadProblem === null };
      expect(found).toEqual({ simd: true, relaxed: true, threads: true, [missing]: false });
    }
  });

  it.each([
    ["threads", null, 4, 4],
    ["threads", null, 32, 8],
    ["threads", 12, 4, 12],
    ["threads", 0, 4, 1],
    ["threads-simd", null, 4, 4],
    ["relaxed", 4, 4, 1],
    ["simd", null, 4, 1],
  ] as const)("%s, requested %s of %s cores: %s", (build, requested, cores, threads) =>
    expect(chooseThreadCount(build, requested, cores)).toBe(threads));
});
