/** The Code view as data: what a run printed, how it ended, and which lines point at the editor. */

/** The name under which the editor's text runs; tracebacks show it. */
export const FILE = "main.py";

export interface Piece {
  readonly id: number;
  readonly stream: "out" | "err";
  readonly text: string;
}

/** `none` before the first run; `stopped` when the person stopped it. */
export type Outcome = "none" | "running" | "finished" | "failed" | "stopped";

export interface Code {
  readonly outcome: Outcome;
  readonly pieces: readonly Piece[];
  /** Whether old output was dropped to keep the page quick. */
  readonly cut: boolean;
  readonly seconds: number | null;
}

export const noCode: Code = { outcome: "none", pieces: [], cut: false, seconds: null };

/** One piece is one element of the page; only the last one grows. */
const PIECE = 4_000;
/** About a thousand lines: more than is read, little enough to lay out within a frame. */
const KEPT = 60_000;

export function printed(code: Code, stream: Piece["stream"], text: string): Code {
  if (text === "") return code;
  if (text.length > KEPT) return { ...printed(code, stream, text.slice(-KEPT)), cut: true };
  const last = code.pieces[code.pieces.length - 1];
  const joins = last !== undefined && last.stream === stream && last.text.length < PIECE;
  const grown = joins
    ? [...code.pieces.slice(0, -1), { ...last, text: last.text + text }]
    : [...code.pieces, { id: 1 + (last?.id ?? 0), stream, text }];
  return trimmed({ ...code, pieces: grown });
}

function trimmed(code: Code): Code {
  let size = code.pieces.reduce((sum, piece) => sum + piece.text.length, 0);
  const first = code.pieces.findIndex((piece) => {
    const keep = size <= KEPT;
    if (!keep) size -= piece.text.length;
    return keep;
  });
  if (first === 0 || code.pieces.length < 2) return code;
  const pieces = first < 0 ? code.pieces.slice(-1) : code.pieces.slice(first);
  return { ...code, cut: true, pieces };
}

export function started(): Code {
  return { ...noCode, outcome: "running" };
}

export function ended(code: Code, error: string | null, stopped: boolean, seconds: number): Code {
  const outcome = stopped ? "stopped" : error === null ? "finished" : "failed";
  const shown = error === null || stopped ? code : printed(onNewLine(code), "err", error);
  return { ...shown, outcome, seconds };
}

function onNewLine(code: Code): Code {
  const last = code.pieces[code.pieces.length - 1];
  return last === undefined || last.text.endsWith("\n") ? code : printed(code, last.stream, "\n");
}

/** Plain text, or a place in the editor's text that a traceback names. */
export interface Part {
  readonly text: string;
  readonly line: number | null;
}

export function parts(text: string): readonly Part[] {
  const place = new RegExp(`File "[^"\\n]*${FILE.replace(".", "\\.")}", line (\\d+)`, "g");
  const found: Part[] = [];
  let end = 0;
  for (const match of text.matchAll(place)) {
    found.push({ text: text.slice(end, match.index), line: null });
    found.push({ text: match[0], line: Number(match[1]) });
    end = match.index + match[0].length;
  }
  return [...found, { text: text.slice(end), line: null }].filter((part) => part.text !== "");
}

export function outcomeText(code: Code): string {
  const digits = code.seconds !== null && code.seconds < 10 ? 2 : 0;
  const took = code.seconds === null ? "" : ` after ${code.seconds.toFixed(digits)} s`;
  switch (code.outcome) {
    case "none": return "";
    case "running": return "Running…";
    case "finished": return `Finished${took}.`;
    case "failed": return `Failed${took}.`;
    case "stopped": return `Stopped${took}.`;
    default: return code.outcome satisfies never;
  }
}
