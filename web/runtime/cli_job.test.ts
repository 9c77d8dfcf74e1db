import { expect, it } from "vitest";
import { OrderedOutput } from "./cli_job";

it("keeps the order of the streams and merges waiting text", async () => {
  const written: [string, string][] = [];
  const output = new OrderedOutput(async (stream, text) => {
    await Promise.resolve();
    written.push([stream, text]);
  });
  output.write("stdout", "a");
  output.write("stdout", "b");
  output.write("stdout", "c");
  output.write("stderr", "!");
  output.write("stdout", "d");
  await output.flushed();
  expect(written).toEqual([["stdout", "a"], ["stdout", "bc"], ["stderr", "!"], ["stdout", "d"]]);

  output.write("stdout", "later");
  await output.flushed();
  expect(written.at(-1)).toEqual(["stdout", "later"]);
});
