/** The state of the Code view: the output and outcome of a run, and links from tracebacks. */

/** The file name of the editor's text, which tracebacks show. */
export const MAIN_FILE = "main.py";

export interface OutputChunk {
  readonly id: number;
  readonly stream: "out" | "err";
  readonly text: string;
}

/** `none` before the first run; `stopped` if the user stopped the run. */
export type Outcome = "none" | "running" | "finished" | "failed" | "stopped";

export interface CodeRun {
  readonly outcome: Outcome;
  readonly chunks: readonly OutputChunk[];
  /** Whether old output was dropped to keep the page responsive. */
  readonly truncated: boolean;
  readonly seconds: number | null;
}

export const emptyRun: CodeRun = { outcome: "none", chunks: [], truncated: false, seconds: null };

/** A chunk is one element of the page; only the last chunk grows. */
const MAX_CHUNK_CHARS = 4_000;
/** About a thousand lines, which the browser can lay out within a frame. */
const MAX_OUTPUT_CHARS = 60_000;

export function appendOutput(run: CodeRun, stream: OutputChunk["stream"], text: string): CodeRun {
  if (text === "") return run;
  if (text.length > MAX_OUTPUT_CHARS) {
    return { ...appendOutput(run, stream, text.slice(-MAX_OUTPUT_CHARS)), truncated: true };
  }
  const last = run.chunks[run.chunks.length - 1];
  const chunks = last?.stream === stream && last.text.length < MAX_CHUNK_CHARS
    ? [...run.chunks.slice(0, -1), { ...last, text: last.text + text }]
    : [...run.chunks, { id: 1 + (last?.id ?? 0), stream, text }];
  return trimOutput({ ...run, chunks });
}

function trimOutput(run: CodeRun): CodeRun {
  let size = run.chunks.reduce((sum, chunk) => sum + chunk.text.length, 0);
  const first = run.chunks.findIndex((chunk) => {
    const fits = size <= MAX_OUTPUT_CHARS;
    if (!fits) size -= chunk.text.length;
    return fits;
  });
  if (first === 0 || run.chunks.length < 2) return run;
  const chunks = first < 0 ? run.chunks.slice(-1) : run.chunks.slice(first);
  return { ...run, truncated: true, chunks };
}

export function startRun(): CodeRun {
  return { ...emptyRun, outcome: "running" };
}

export function endRun(
  run: CodeRun, error: string | null, stopped: boolean, seconds: number,
): CodeRun {
  const outcome = stopped ? "stopped" : error === null ? "finished" : "failed";
  const withError = error === null || stopped ? run : appendOutput(endLine(run), "err", error);
  return { ...withError, outcome, seconds };
}

function endLine(run: CodeRun): CodeRun {
  const last = run.chunks[run.chunks.length - 1];
  if (last === undefined || last.text.endsWith("\n")) return run;
  return appendOutput(run, last.stream, "\n");
}

/** Plain text, or a location in the editor's text that a traceback mentions. */
export interface TextSpan {
  readonly text: string;
  readonly line: number | null;
}

export function splitAtLocations(text: string): readonly TextSpan[] {
  const location = new RegExp(`File "[^"\\n]*${MAIN_FILE.replace(".", "\\.")}", line (\\d+)`, "g");
  const spans: TextSpan[] = [];
  let end = 0;
  for (const match of text.matchAll(location)) {
    spans.push({ text: text.slice(end, match.index), line: null });
    spans.push({ text: match[0], line: Number(match[1]) });
    end = match.index + match[0].length;
  }
  return [...spans, { text: text.slice(end), line: null }].filter((span) => span.text !== "");
}

export function outcomeText(run: CodeRun): string {
  const digits = run.seconds !== null && run.seconds < 10 ? 2 : 0;
  const duration = run.seconds === null ? "" : ` after ${run.seconds.toFixed(digits)} s`;
  switch (run.outcome) {
    case "none": return "";
    case "running": return "Running…";
    case "finished": return `Finished${duration}.`;
    case "failed": return `Failed${duration}.`;
    case "stopped": return `Stopped${duration}.`;
    default: return run.outcome satisfies never;
  }
}
