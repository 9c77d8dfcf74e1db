import { describe, expect, it } from "vitest";
import type { GpuReport } from "../../protocol";
import { note, options, possible, toDevice } from "./device";

const none: GpuReport = { present: false, reason: "this browser has no WebGPU" };
const real: GpuReport = { present: true, name: "A GPU", way: "local", software: false };
const played: GpuReport = { present: true, name: "SwiftShader", way: "local", software: true };

describe("the device", () => {
  it.each([["cpu", "cpu"], ["gpu", "gpu"], ["auto", "auto"], ["abacus", "auto"], [null, "auto"]])(
    "is taken from what was kept: %s", (text, device) => expect(toDevice(text)).toBe(device));
  it.each([[null, true], [none, true], [real, false], [played, false]])(
    "may be a GPU where there is one", (gpu, off) => {
      expect(options(gpu).map((each) => each.off)).toEqual([false, false, off]);
    });
  it("is no GPU where there was one on an earlier visit only", () => {
    expect([possible("gpu", none), possible("gpu", real), possible("cpu", none)])
      .toEqual(["auto", "gpu", "cpu"]);
    expect(possible("gpu", null)).toBe("gpu");
  });
  it.each([
    [null, ""], [none, "No GPU: this browser has no WebGPU."], [real, "A GPU."],
    [played, "SwiftShader, which the processor plays: slow."],
  ])("is told of in one line", (gpu, text) => expect(note(gpu)).toBe(text));
});
