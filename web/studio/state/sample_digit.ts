/** A three, so that there is something to recognise before anybody has drawn: two bows. */
import type { Point, Stroke } from "./raster";

function bow(centre: Point, radius: number, from: number, to: number): Stroke {
  const steps = 24;
  return Array.from({ length: steps + 1 }, (_, i) => {
    const angle = (Math.PI / 180) * (from + ((to - from) * i) / steps);
    const [dx, dy] = [radius * Math.cos(angle), 0.95 * radius * Math.sin(angle)];
    return { x: centre.x + dx, y: centre.y + dy };
  });
}

export const sample: readonly Stroke[] = [
  [...bow({ x: 0.49, y: 0.33 }, 0.155, -150, 85), ...bow({ x: 0.49, y: 0.64 }, 0.18, -82, 150)],
];
