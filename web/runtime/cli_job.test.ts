import { expect, it } from "vitest";
import { Outlet } from "./cli_job";

it("keeps the order of the streams and joins what waits", async () => {
  const got: [string, string][] = [];
  const outlet = new Outlet(async (stream, text) => {
    await Promise.resolve();
    got.push([stream, text]);
  });
  outlet.write("stdout", "a");
  outlet.write("stdout", "b");
  outlet.write("stdout", "c");
  outlet.write("stderr", "!");
  outlet.write("stdout", "d");
  await outlet.flushed();
  expect(got).toEqual([["stdout", "a"], ["stdout", "bc"], ["stderr", "!"], ["stdout", "d"]]);

  outlet.write("stdout", "later");
  await outlet.flushed();
  expect(got.at(-1)).toEqual(["stdout", "later"]);
});
