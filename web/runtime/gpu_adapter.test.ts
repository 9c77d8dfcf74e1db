import { describe, expect, it } from "vitest";
import { chooseWay, findAdapter } from "./gpu_adapter";

const NOWHERE = { stacks: false, isolated: false };

describe("the way to the GPU", () => {
  it("is a worker of its own where there is shared memory to wait on", () => {
    expect(chooseWay(null, { stacks: false, isolated: true })).toEqual({ way: "worker" });
    expect(chooseWay(null, { stacks: true, isolated: true })).toEqual({ way: "worker" });
  });

  it("is Python's own worker where it can only switch stacks, or where that is asked for", () => {
    expect(chooseWay(null, { stacks: true, isolated: false })).toEqual({ way: "local" });
    expect(chooseWay("local", { stacks: true, isolated: true })).toEqual({ way: "local" });
  });

  it("is none where Python could not wait, and the reason is told", () => {
    expect(chooseWay(null, NOWHERE)).toMatchObject({ reason: expect.stringContaining("JSPI") });
    expect(chooseWay("worker", NOWHERE)).toHaveProperty("reason");
    expect(chooseWay("local", { ...NOWHERE, isolated: true })).toHaveProperty("reason");
  });

  it("is none without WebGPU", async () => {
    expect(await findAdapter(undefined)).toBe("this browser has no WebGPU");
  });
});
