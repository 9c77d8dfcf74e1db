/** The drawing and its pen, which pointer or keys move. Positions are fractions of the side. */
import type { Point, Stroke } from "./raster";
import { sampleDigit } from "./sample_digit";

export interface Pen {
  readonly strokes: readonly Stroke[];
  readonly position: Point;
  /** Whether the keyboard's pen is lowered. */
  readonly isDown: boolean;
  /** Whether the strokes are the initial sample, which the user's first stroke replaces. */
  readonly isSample: boolean;
}

export const blankPen: Pen = {
  strokes: [], position: { x: 0.5, y: 0.5 }, isDown: false, isSample: false,
};
export const initialPen: Pen = { ...blankPen, strokes: sampleDigit, isSample: true };

/** Start a new stroke at a position. */
export function startStroke(pen: Pen, position: Point): Pen {
  const earlier = pen.isSample ? [] : pen.strokes;
  return { ...pen, strokes: [...earlier, [position]], position, isSample: false };
}

/** Extend the last stroke to a position. */
export function extendStroke(pen: Pen, position: Point): Pen {
  const last = pen.strokes[pen.strokes.length - 1] ?? [];
  return { ...pen, strokes: [...pen.strokes.slice(0, -1), [...last, position]], position };
}

const KEY_STEP = 0.05;
const KEY_OFFSETS: Readonly<Record<string, Point>> = {
  ArrowLeft: { x: -KEY_STEP, y: 0 }, ArrowRight: { x: KEY_STEP, y: 0 },
  ArrowUp: { x: 0, y: -KEY_STEP }, ArrowDown: { x: 0, y: KEY_STEP },
};

/** Arrows move the pen, Space lowers or lifts it, Delete clears. Returns null for other keys. */
export function handleKey(pen: Pen, key: string): Pen | null {
  const offset = KEY_OFFSETS[key];
  if (offset !== undefined) return movePen(pen, offset);
  if (key === " " && pen.isDown) return { ...pen, isDown: false };
  if (key === " ") return { ...startStroke(pen, pen.position), isDown: true };
  return key === "Delete" || key === "Backspace" ? blankPen : null;
}

function movePen(pen: Pen, offset: Point): Pen {
  const clamp = (value: number): number => Math.min(1, Math.max(0, value));
  const position = { x: clamp(pen.position.x + offset.x), y: clamp(pen.position.y + offset.y) };
  return pen.isDown ? extendStroke(pen, position) : { ...pen, position };
}
