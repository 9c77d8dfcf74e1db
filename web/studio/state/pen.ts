/** A drawing and the pen over it, by pointer or by keys. Places are shares of the side. */
import type { Point, Stroke } from "./raster";
import { sample } from "./sample_digit";

export interface Pen {
  readonly strokes: readonly Stroke[];
  readonly at: Point;
  /** Whether the keyboard's pen is on the paper. */
  readonly down: boolean;
  /** Whether the strokes are the sample of the beginning, which the first own stroke replaces. */
  readonly given: boolean;
}

export const cleared: Pen = { strokes: [], at: { x: 0.5, y: 0.5 }, down: false, given: false };
export const opening: Pen = { ...cleared, strokes: sample, given: true };

/** A new stroke that begins here. */
export function begun(pen: Pen, at: Point): Pen {
  return { ...pen, strokes: [...(pen.given ? [] : pen.strokes), [at]], at, given: false };
}

/** The last stroke, drawn on to here. */
export function drawnTo(pen: Pen, at: Point): Pen {
  const last = pen.strokes[pen.strokes.length - 1] ?? [];
  return { ...pen, strokes: [...pen.strokes.slice(0, -1), [...last, at]], at };
}

const STEP = 0.05;
const moves: Readonly<Record<string, Point>> = {
  ArrowLeft: { x: -STEP, y: 0 }, ArrowRight: { x: STEP, y: 0 },
  ArrowUp: { x: 0, y: -STEP }, ArrowDown: { x: 0, y: STEP },
};

/** Arrows move the pen, Space lowers or lifts it, Delete clears; null for any other key. */
export function keyed(pen: Pen, key: string): Pen | null {
  const by = moves[key];
  if (by !== undefined) return moved(pen, by);
  if (key === " ") return { ...(pen.down ? pen : begun(pen, pen.at)), down: !pen.down };
  return key === "Delete" || key === "Backspace" ? cleared : null;
}

function moved(pen: Pen, by: Point): Pen {
  const within = (value: number): number => Math.min(1, Math.max(0, value));
  const at = { x: within(pen.at.x + by.x), y: within(pen.at.y + by.y) };
  return pen.down ? drawnTo(pen, at) : { ...pen, at };
}
