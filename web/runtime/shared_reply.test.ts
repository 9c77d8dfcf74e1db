import { describe, expect, it } from "vitest";
import { newAnswer, newStatus, Reply, SharedAnswer, Status } from "./shared_reply";

const bytesOf = (bytes: Uint8Array): number[] => [...bytes];

describe("an answer in shared memory", () => {
  it("is not there until it is given", () => {
    const memory = newAnswer(4);
    const answer = new SharedAnswer(memory, bytesOf);
    expect(answer.ready()).toBe(false);
    new Reply(memory).done(new Uint8Array([1, 2, 3, 4]));
    expect(answer.ready()).toBe(true);
    expect(answer.take()).toEqual([1, 2, 3, 4]);
  });

  it("may be trouble, whose kind and words come along", () => {
    const memory = newAnswer(0);
    new Reply(memory).fail({ kind: "validation", message: "größer" });
    const answer = new SharedAnswer(memory, bytesOf);
    expect(answer.ready()).toBe(true);
    expect(() => answer.take()).toThrow(
      expect.objectContaining({ name: "validation", message: "größer" }));
  });

  it("keeps the kind where the words are too many", () => {
    const memory = newAnswer(0);
    new Reply(memory).fail({ kind: "memory", message: "x".repeat(10_000) });
    expect(() => new SharedAnswer(memory, bytesOf).take()).toThrow(
      expect.objectContaining({ name: "memory" }));
  });
});

describe("the status in shared memory", () => {
  it("counts runs", () => {
    const status = new Status(newStatus());
    status.waitBeyond(0);
    status.ended();
    status.waitBeyond(0); // returns at once
    expect(status.runs).toBe(1);
  });

  it("tells the first trouble, until it is cleared or the device is lost", () => {
    const memory = newStatus();
    const [device, python] = [new Status(memory), new Status(memory)];
    expect(python.trouble).toBeNull();
    device.tell({ kind: "validation", message: "first" });
    device.tell({ kind: "memory", message: "second" });
    expect(python.trouble).toEqual({ kind: "validation", message: "first" });
    device.tell({ kind: "lost", message: "gone" });
    expect(python.trouble).toEqual({ kind: "lost", message: "gone" });
    python.clear();
    expect(device.trouble).toBeNull();
  });
});
