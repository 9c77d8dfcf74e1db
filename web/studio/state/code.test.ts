import { describe, expect, it } from "vitest";
import { appendOutput, emptyRun, endRun, outcomeText, splitAtLocations, startRun } from "./code";

const textOf = (run: typeof emptyRun): string => run.chunks.map((chunk) => chunk.text).join("");

describe("the output of a program", () => {
  it("is merged within a stream and kept apart between the two", () => {
    const output = [["out", "a"], ["out", "b\n"], ["err", "c"]] as const;
    const { chunks } = output.reduce(
      (run, [stream, text]) => appendOutput(run, stream, text), startRun());
    const shown = chunks.map((chunk) => [chunk.stream, chunk.text]);
    expect(shown).toEqual([["out", "ab\n"], ["err", "c"]]);
  });
  it("loses its oldest chunks when it is too long, and is marked as truncated", () => {
    let run = startRun();
    for (let i = 0; i < 30_000; i++) run = appendOutput(run, "out", `line ${i}\n`);
    expect(run.truncated).toBe(true);
    expect(textOf(run).length).toBeLessThan(70_000);
    expect(textOf(run).endsWith("line 29999\n")).toBe(true);
  });
  it("keeps the end of a huge text", () => {
    const run = appendOutput(startRun(), "out", `${"x".repeat(1_000_000)}end`);
    expect(run.truncated).toBe(true);
    expect(textOf(run)).toHaveLength(60_000);
    expect(textOf(run).endsWith("xend")).toBe(true);
  });
});

it.each([
  [null, false, "finished", "Finished after 1.50 s.", "done"],
  ["Traceback", false, "failed", "Failed after 1.50 s.", "done\nTraceback"],
  ["KeyboardInterrupt", true, "stopped", "Stopped after 1.50 s.", "done"],
])("ends with error %j, stopped %j: %s", (error, stopped, outcome, status, output) => {
  const run = endRun(appendOutput(startRun(), "out", "done"), error, stopped, 1.5);
  expect([run.outcome, outcomeText(run), textOf(run)]).toEqual([outcome, status, output]);
});

it("finds the locations of a traceback in the editor's text, and no others", () => {
  const traceback =
    'Traceback:\n  File "/a/main.py", line 12, in f\n  File "/a/main.pyc", line 3\nEnd';
  expect(splitAtLocations(traceback)).toEqual([
    { text: "Traceback:\n  ", line: null },
    { text: 'File "/a/main.py", line 12', line: 12 },
    { text: ', in f\n  File "/a/main.pyc", line 3\nEnd', line: null },
  ]);
});
