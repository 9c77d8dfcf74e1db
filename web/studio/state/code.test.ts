import { describe, expect, it } from "vitest";
import { ended, noCode, outcomeText, parts, printed, started } from "./code";

const text = (code: typeof noCode): string => code.pieces.map((piece) => piece.text).join("");

describe("what a program prints", () => {
  it("joins pieces of one stream and parts the two", () => {
    const code = [["out", "a"], ["out", "b\n"], ["err", "c"]] as const;
    const { pieces } = code.reduce((all, [stream, what]) => printed(all, stream, what), started());
    const shown = pieces.map((piece) => [piece.stream, piece.text]);
    expect(shown).toEqual([["out", "ab\n"], ["err", "c"]]);
  });
  it("drops the oldest when there is too much, and says so", () => {
    let code = started();
    for (let i = 0; i < 30_000; i++) code = printed(code, "out", `line ${i}\n`);
    expect(code.cut).toBe(true);
    expect(text(code).length).toBeLessThan(70_000);
    expect(text(code).endsWith("line 29999\n")).toBe(true);
  });
  it("keeps the end of one huge piece", () => {
    const code = printed(started(), "out", `${"x".repeat(1_000_000)}end`);
    expect([code.cut, text(code).length, text(code).endsWith("xend")]).toEqual([true, 60_000, true]);
  });
});

it.each([
  [null, false, "finished", "Finished after 1.50 s.", "done"],
  ["Traceback", false, "failed", "Failed after 1.50 s.", "done\nTraceback"],
  ["KeyboardInterrupt", true, "stopped", "Stopped after 1.50 s.", "done"],
])("ends with %j, stopped %j: %s", (error, stopped, outcome, says, shown) => {
  const code = ended(printed(started(), "out", "done"), error, stopped, 1.5);
  expect([code.outcome, outcomeText(code), text(code)]).toEqual([outcome, says, shown]);
});

it("finds the places of a traceback in the editor, and only those", () => {
  const trace =
    'Traceback:\n  File "/a/main.py", line 12, in f\n  File "/a/main.pyc", line 3\nEnd';
  expect(parts(trace)).toEqual([
    { text: "Traceback:\n  ", line: null },
    { text: 'File "/a/main.py", line 12', line: 12 },
    { text: ', in f\n  File "/a/main.pyc", line 3\nEnd', line: null },
  ]);
});
