/**
 * From pen strokes to the 8 x 8 picture the network was trained on. The UCI data were made from
 * 32 x 32 bitmaps in which the digit fills the height, by counting the ink of 4 x 4 blocks.
 */

export interface Point {
  readonly x: number;
  readonly y: number;
}
export type Stroke = readonly Point[];

export const SIDE = 8;
const FINE = 32;
const BLOCK = FINE / SIDE;

/** In the 1,797 pictures 0.305 of the cells are inked and a digit is 6 of 8 columns wide. */
const INK = 0.305;
const WIDEST = 24;
/** Half the pen's width in fine cells: the first guess, the thinnest and the thickest. */
const PEN = { guess: 3, thin: 1.6, thick: 4.4 };

/** 64 numbers in 0..1, row by row, or null when nothing is drawn. */
export function rasterise(strokes: readonly Stroke[]): readonly number[] | null {
  if (strokes.every((stroke) => stroke.length === 0)) return null;
  const first = distances(fitted(strokes, PEN.guess));
  const distance = distances(fitted(strokes, penFor(first)));
  return blocks(distance, penFor(distance));
}

/** The pen with which the strokes cover as much of the picture as a digit of the data does. */
function penFor(distance: readonly number[]): number {
  const sorted = [...distance].sort((a, b) => a - b);
  const radius = sorted[Math.round(INK * sorted.length)] ?? PEN.guess;
  return Math.min(PEN.thick, Math.max(PEN.thin, radius));
}

/** The strokes scaled so that, drawn with the pen, they fill the height, and centred. */
function fitted(strokes: readonly Stroke[], pen: number): readonly Stroke[] {
  const xs = strokes.flatMap((stroke) => stroke.map((p) => p.x));
  const ys = strokes.flatMap((stroke) => stroke.map((p) => p.y));
  const left = Math.min(...xs), top = Math.min(...ys);
  const width = Math.max(...xs) - left, height = Math.max(...ys) - top;
  // A flat stroke is not blown up to a digit's height: it keeps at most three times its share.
  const scaleY = (FINE - 2 * pen) / Math.max(height, width / 3, 1e-6);
  const scaleX = Math.min(scaleY, (WIDEST - 2 * pen) / Math.max(width, 1e-6));
  return strokes.map((stroke) => thinned(stroke.map((p) => ({
    x: FINE / 2 + (p.x - left - width / 2) * scaleX,
    y: FINE / 2 + (p.y - top - height / 2) * scaleY,
  }))));
}

/** Without points closer than half a fine cell to the one before: a slow hand leaves hundreds. */
function thinned(stroke: Stroke): Stroke {
  const kept: Point[] = [];
  for (const point of stroke) {
    const last = kept[kept.length - 1];
    const near = last !== undefined && Math.hypot(point.x - last.x, point.y - last.y) <= 0.5;
    if (!near) kept.push(point);
  }
  return kept;
}

/** For each fine cell, row by row, how far its centre is from a stroke within a pen's reach. */
function distances(strokes: readonly Stroke[]): readonly number[] {
  const far = new Array<number>(FINE * FINE).fill(Infinity);
  for (const stroke of strokes) {
    stroke.forEach((point, i) => {
      const from = stroke[i - 1] ?? point;
      for (const cell of cellsNear(from, point)) {
        const centre = { x: (cell % FINE) + 0.5, y: Math.floor(cell / FINE) + 0.5 };
        far[cell] = Math.min(far[cell] ?? Infinity, toSegment(centre, from, point));
      }
    });
  }
  return far;
}

/** The fine cells that the thickest pen could touch on its way from a to b. */
function* cellsNear(a: Point, b: Point): Generator<number> {
  const reach = PEN.thick + 1;
  const first = (p: number, q: number): number => Math.max(0, Math.floor(Math.min(p, q) - reach));
  const last = (p: number, q: number): number =>
    Math.min(FINE - 1, Math.ceil(Math.max(p, q) + reach));
  for (let y = first(a.y, b.y); y <= last(a.y, b.y); y++) {
    for (let x = first(a.x, b.x); x <= last(a.x, b.x); x++) yield y * FINE + x;
  }
}

function toSegment(p: Point, a: Point, b: Point): number {
  const dx = b.x - a.x, dy = b.y - a.y;
  const length = dx * dx + dy * dy;
  const along = length === 0 ? 0 : ((p.x - a.x) * dx + (p.y - a.y) * dy) / length;
  const t = Math.min(1, Math.max(0, along));
  return Math.hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

/** The share of each 4 x 4 block that the pen covers; its border is soft over one fine cell. */
function blocks(distance: readonly number[], pen: number): readonly number[] {
  const sums = new Array<number>(SIDE * SIDE).fill(0);
  distance.forEach((d, cell) => {
    const row = Math.floor(cell / FINE / BLOCK), column = Math.floor((cell % FINE) / BLOCK);
    const covered = Math.min(1, Math.max(0, pen - d + 0.5));
    sums[row * SIDE + column] = (sums[row * SIDE + column] ?? 0) + covered;
  });
  return sums.map((sum) => sum / (BLOCK * BLOCK));
}
