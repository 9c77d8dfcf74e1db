import { describe, expect, it } from "vitest";
import {
  newReplyBuffer, newStatusBuffer, ReplyWriter, SharedReply, SharedStatus,
} from "./shared_reply";

const bytesOf = (bytes: Uint8Array): number[] => [...bytes];

describe("a reply in shared memory", () => {
  it("is unavailable until it is written", () => {
    const memory = newReplyBuffer(4);
    const reply = new SharedReply(memory, bytesOf);
    expect(reply.ready()).toBe(false);
    new ReplyWriter(memory).resolve(new Uint8Array([1, 2, 3, 4]));
    expect(reply.ready()).toBe(true);
    expect(reply.take()).toEqual([1, 2, 3, 4]);
  });

  it("may be an error with its kind and message", () => {
    const memory = newReplyBuffer(0);
    new ReplyWriter(memory).reject({ kind: "validation", message: "größer" });
    const reply = new SharedReply(memory, bytesOf);
    expect(reply.ready()).toBe(true);
    expect(() => reply.take()).toThrow(
      expect.objectContaining({ name: "validation", message: "größer" }));
  });

  it("keeps the kind of an error whose message is too long", () => {
    const memory = newReplyBuffer(0);
    new ReplyWriter(memory).reject({ kind: "memory", message: "x".repeat(10_000) });
    expect(() => new SharedReply(memory, bytesOf).take()).toThrow(
      expect.objectContaining({ name: "memory" }));
  });
});

describe("the status in shared memory", () => {
  it("counts completed runs", () => {
    const status = new SharedStatus(newStatusBuffer());
    status.waitForRunAfter(0);
    status.countRun();
    status.waitForRunAfter(0); // returns at once
    expect(status.completedRuns).toBe(1);
  });

  it("holds the first error until it is cleared or the device is lost", () => {
    const memory = newStatusBuffer();
    const [device, python] = [new SharedStatus(memory), new SharedStatus(memory)];
    expect(python.error).toBeNull();
    device.reportError({ kind: "validation", message: "first" });
    device.reportError({ kind: "memory", message: "second" });
    expect(python.error).toEqual({ kind: "validation", message: "first" });
    device.reportError({ kind: "lost", message: "gone" });
    expect(python.error).toEqual({ kind: "lost", message: "gone" });
    python.clearError();
    expect(device.error).toBeNull();
  });
});
