/** Training curves: they grow during training, with at most as many points as a screen can show. */

/** Points in order of x. At `MAX_POINTS` points, adjacent pairs are averaged. */
export interface Curve {
  readonly x: readonly number[];
  readonly y: readonly number[];
}

export const emptyCurve: Curve = { x: [], y: [] };

/** Twice the width of the largest plot in pixels; a finer curve would look the same. */
export const MAX_POINTS = 2000;

export function appendPoint(curve: Curve, x: number, y: number): Curve {
  const { x: xs, y: ys } = curve.x.length < MAX_POINTS ? curve
    : { x: averagePairs(curve.x), y: averagePairs(curve.y) };
  return { x: [...xs, x], y: [...ys, y] };
}

function averagePairs(values: readonly number[]): number[] {
  return values.flatMap((value, i) => {
    const next = values[i + 1];
    if (i % 2 === 1) return [];
    return [next === undefined ? value : (value + next) / 2];
  });
}

export function lastY(curve: Curve): number | null {
  return curve.y[curve.y.length - 1] ?? null;
}

/** The right end of the epoch axis: at least ten epochs, and slightly above the current epoch. */
export function epochAxisEnd(epoch: number): number {
  return Math.max(10, epoch * 1.1);
}

/** Slightly above ln 10, about 2.3, the loss of uniform guesses among ten classes. */
const INITIAL_LOSS_TOP = 2.5;

/** The top of the loss axis: it rises with the highest loss and does not fall until a reset. */
export function lossAxisTop(top: number, loss: number | null): number {
  return Math.max(top, INITIAL_LOSS_TOP, loss === null ? 0 : loss * 1.05);
}

/** One frame of an animation towards a target: move by a fraction of the remaining distance. */
export function smooth(current: number, target: number, fraction: number): number {
  const next = current + (target - current) * fraction;
  return Math.abs(target - next) < 0.002 * target ? target : next;
}

/** Merge two curves into one table of x for a plot, with null where a curve has no point. */
export function mergeCurves(a: Curve, b: Curve): [number[], (number | null)[], (number | null)[]] {
  const x = [...new Set([...a.x, ...b.x])].sort((p, q) => p - q);
  return [x, alignTo(x, a), alignTo(x, b)];
}

function alignTo(x: readonly number[], curve: Curve): (number | null)[] {
  let i = 0;
  return x.map((value) => (curve.x[i] === value ? curve.y[i++] ?? null : null));
}
