/** Curves that grow while training runs and never hold more points than a screen can show. */

/** Points in order of x. Beyond `LIMIT` points neighbours are averaged in pairs. */
export interface Curve {
  readonly x: readonly number[];
  readonly y: readonly number[];
}

export const empty: Curve = { x: [], y: [] };

/** Twice the widest plot in pixels at which a finer curve could still be told apart. */
export const LIMIT = 2000;

export function appended(curve: Curve, x: number, y: number): Curve {
  const room = curve.x.length < LIMIT ? curve : { x: halved(curve.x), y: halved(curve.y) };
  return { x: [...room.x, x], y: [...room.y, y] };
}

function halved(values: readonly number[]): number[] {
  return values.flatMap((value, i) => {
    const next = values[i + 1];
    if (i % 2 === 1) return [];
    return [next === undefined ? value : (value + next) / 2];
  });
}

export function lastY(curve: Curve): number | null {
  return curve.y[curve.y.length - 1] ?? null;
}

/** The right end of the epoch axis: ten epochs at first, then a little more than was trained. */
export function epochsShown(epoch: number): number {
  return Math.max(10, epoch * 1.1);
}

/** Loss of guessing among ten classes is ln 10, about 2.3; the axis starts just above it. */
const FIRST_LOSS = 2.5;

/** The top of the loss axis: it rises with the highest loss and never falls until a reset. */
export function lossShown(top: number, loss: number | null): number {
  return loss === null ? Math.max(top, FIRST_LOSS) : Math.max(top, FIRST_LOSS, loss * 1.05);
}

/** One frame on the way from the axis that is shown to the one that is due: this share of it. */
export function eased(shown: number, due: number, share: number): number {
  const next = shown + (due - shown) * share;
  return Math.abs(due - next) < 0.002 * due ? due : next;
}

/** Two curves on one table of x, as a plot wants them: a gap where a curve has no point. */
export function joined(a: Curve, b: Curve): [number[], (number | null)[], (number | null)[]] {
  const x = [...new Set([...a.x, ...b.x])].sort((p, q) => p - q);
  return [x, onTable(x, a), onTable(x, b)];
}

function onTable(x: readonly number[], curve: Curve): (number | null)[] {
  let i = 0;
  return x.map((at) => (curve.x[i] === at ? curve.y[i++] ?? null : null));
}
