/**
 * Rasterization of pen strokes to an 8 x 8 image like those of the training data. The UCI data were
 * made from 32 x 32 bitmaps in which the digit fills the height, by counting the ink of 4 x 4
 * blocks. The cells of such a bitmap are called fine cells here.
 */

export interface Point {
  readonly x: number;
  readonly y: number;
}
export type Stroke = readonly Point[];

export const SIDE = 8;
const FINE_SIDE = 32;
const BLOCK_SIDE = FINE_SIDE / SIDE;

/** In the 1,797 images, a fraction of 0.305 of the cells is inked and a digit is 6 columns wide. */
const INK_FRACTION = 0.305;
const MAX_DIGIT_WIDTH = 24;
/** The pen's radius in fine cells. */
const PEN_RADIUS = { initial: 3, min: 1.6, max: 4.4 };

/** 64 values in 0..1 in row-major order, or null if nothing is drawn. */
export function rasterize(strokes: readonly Stroke[]): readonly number[] | null {
  if (strokes.every((stroke) => stroke.length === 0)) return null;
  const initialDistance = distanceField(fitStrokes(strokes, PEN_RADIUS.initial));
  const distance = distanceField(fitStrokes(strokes, penRadiusFor(initialDistance)));
  return blockCoverage(distance, penRadiusFor(distance));
}

/** The pen radius with which the strokes ink the same fraction of the image as the data. */
function penRadiusFor(distance: readonly number[]): number {
  const sorted = [...distance].sort((a, b) => a - b);
  const radius = sorted[Math.round(INK_FRACTION * sorted.length)] ?? PEN_RADIUS.initial;
  return Math.min(PEN_RADIUS.max, Math.max(PEN_RADIUS.min, radius));
}

/** Center the strokes and scale them so that they fill the height when drawn with the pen. */
function fitStrokes(strokes: readonly Stroke[], radius: number): readonly Stroke[] {
  const xs = strokes.flatMap((stroke) => stroke.map((p) => p.x));
  const ys = strokes.flatMap((stroke) => stroke.map((p) => p.y));
  const left = Math.min(...xs), top = Math.min(...ys);
  const width = Math.max(...xs) - left, height = Math.max(...ys) - top;
  // Limits the vertical scale of flat strokes, which would otherwise be stretched to full height.
  const scaleY = (FINE_SIDE - 2 * radius) / Math.max(height, width / 3, 1e-6);
  const scaleX = Math.min(scaleY, (MAX_DIGIT_WIDTH - 2 * radius) / Math.max(width, 1e-6));
  return strokes.map((stroke) => dropClosePoints(stroke.map((p) => ({
    x: FINE_SIDE / 2 + (p.x - left - width / 2) * scaleX,
    y: FINE_SIDE / 2 + (p.y - top - height / 2) * scaleY,
  }))));
}

/** Drop points within half a fine cell of the previous one: slow drawing yields hundreds. */
function dropClosePoints(stroke: Stroke): Stroke {
  const points: Point[] = [];
  for (const point of stroke) {
    const last = points[points.length - 1];
    const isClose = last !== undefined && Math.hypot(point.x - last.x, point.y - last.y) <= 0.5;
    if (!isClose) points.push(point);
  }
  return points;
}

/** The distance of each fine cell's center to the nearest stroke, or Infinity out of reach. */
function distanceField(strokes: readonly Stroke[]): readonly number[] {
  const field = new Array<number>(FINE_SIDE * FINE_SIDE).fill(Infinity);
  for (const stroke of strokes) {
    stroke.forEach((point, i) => {
      const from = stroke[i - 1] ?? point;
      for (const cell of cellsNear(from, point)) {
        const center = { x: (cell % FINE_SIDE) + 0.5, y: Math.floor(cell / FINE_SIDE) + 0.5 };
        field[cell] = Math.min(field[cell] ?? Infinity, distanceToSegment(center, from, point));
      }
    });
  }
  return field;
}

/** The fine cells that the thickest pen can ink on a segment from a to b. */
function* cellsNear(a: Point, b: Point): Generator<number> {
  const reach = PEN_RADIUS.max + 1;
  const first = (p: number, q: number): number => Math.max(0, Math.floor(Math.min(p, q) - reach));
  const last = (p: number, q: number): number =>
    Math.min(FINE_SIDE - 1, Math.ceil(Math.max(p, q) + reach));
  for (let y = first(a.y, b.y); y <= last(a.y, b.y); y++) {
    for (let x = first(a.x, b.x); x <= last(a.x, b.x); x++) yield y * FINE_SIDE + x;
  }
}

function distanceToSegment(p: Point, a: Point, b: Point): number {
  const dx = b.x - a.x, dy = b.y - a.y;
  const length = dx * dx + dy * dy;
  const along = length === 0 ? 0 : ((p.x - a.x) * dx + (p.y - a.y) * dy) / length;
  const t = Math.min(1, Math.max(0, along));
  return Math.hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

/** The fraction of each 4 x 4 block that the pen inks; its edge is smooth over one fine cell. */
function blockCoverage(distance: readonly number[], radius: number): readonly number[] {
  const sums = new Array<number>(SIDE * SIDE).fill(0);
  distance.forEach((d, cell) => {
    const row = Math.floor(cell / FINE_SIDE / BLOCK_SIDE);
    const column = Math.floor((cell % FINE_SIDE) / BLOCK_SIDE);
    const ink = Math.min(1, Math.max(0, radius - d + 0.5));
    sums[row * SIDE + column] = (sums[row * SIDE + column] ?? 0) + ink;
  });
  return sums.map((sum) => sum / (BLOCK_SIDE * BLOCK_SIDE));
}
