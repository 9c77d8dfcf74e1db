import { describe, expect, it } from "vitest";
import type { GpuReport } from "../../protocol";
import { deviceNote, deviceOptions, availableDevice, parseDevice } from "./device";

const none: GpuReport = { present: false, reason: "this browser has no WebGPU" };
const gpu: GpuReport = { present: true, name: "A GPU", transport: "jspi", software: false };
const software: GpuReport = { ...gpu, name: "SwiftShader", software: true };

describe("the device", () => {
  it.each([["cpu", "cpu"], ["gpu", "gpu"], ["auto", "auto"], ["abacus", "auto"], [null, "auto"]])(
      "is parsed from the persisted text %s", (text, device) =>
        expect(parseDevice(text)).toBe(device));
    it.each([[null, true], [none, true], [gpu, false], [software, false]])(
      "may be a GPU if there is one", (report, disabled) => {
        const options = deviceOptions(report);
        expect(options.map((option) => option.disabled)).toEqual([false, false, disabled]);
      });
    it("is not a GPU that was available on an earlier visit only", () => {
      expect([
        availableDevice("gpu", none), availableDevice("gpu", gpu), availableDevice("cpu", none)])
      .toEqual(["auto", "gpu", "cpu"]);
    expect(availableDevice("gpu", null)).toBe("gpu");
  });
  it.each([
      [null, ""], [none, "No GPU: this browser has no WebGPU."], [gpu, "A GPU."],
      [software, "SwiftShader: a software adapter, slow."],
    ])("is described in one line", (report, text) => expect(deviceNote(report)).toBe(text));
});
