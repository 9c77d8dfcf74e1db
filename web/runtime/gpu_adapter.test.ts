import { describe, expect, it } from "vitest";
import type { GpuTransport } from "../protocol";
import { chooseTransport, requestAdapter } from "./gpu_adapter";

const choose = (
  requested: GpuTransport | null, canSwitchStacks: boolean, canShareMemory: boolean,
): object => chooseTransport(requested, { canSwitchStacks, canShareMemory });

describe("the transport to the GPU", () => {
  it("is a separate worker if Python can wait on shared memory", () => {
    expect(choose(null, false, true)).toEqual({ transport: "worker" });
    expect(choose(null, true, true)).toEqual({ transport: "worker" });
  });

  it("is JSPI if only JSPI is available, or if it is requested", () => {
    expect(choose(null, true, false)).toEqual({ transport: "jspi" });
    expect(choose("jspi", true, true)).toEqual({ transport: "jspi" });
  });

  it("is missing, with the reason, if Python cannot wait", () => {
    expect(choose(null, false, false)).toMatchObject({ reason: expect.stringContaining("JSPI") });
    expect(choose("worker", false, false)).toHaveProperty("reason");
    expect(choose("jspi", false, true)).toHaveProperty("reason");
  });

  it("is missing without WebGPU", async () => {
    expect(await requestAdapter(undefined)).toBe("this browser has no WebGPU");
  });
});
