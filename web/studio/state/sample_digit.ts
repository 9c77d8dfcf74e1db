/** A sample digit, so that there is something to classify before the user draws: 3, two arcs. */
import type { Point, Stroke } from "./raster";

function arc(center: Point, radius: number, fromDegrees: number, toDegrees: number): Stroke {
  const steps = 24;
  return Array.from({ length: steps + 1 }, (_, i) => {
    const angle = (Math.PI / 180) * (fromDegrees + ((toDegrees - fromDegrees) * i) / steps);
    const [dx, dy] = [radius * Math.cos(angle), 0.95 * radius * Math.sin(angle)];
    return { x: center.x + dx, y: center.y + dy };
  });
}

export const sampleDigit: readonly Stroke[] = [
  [...arc({ x: 0.49, y: 0.33 }, 0.155, -150, 85), ...arc({ x: 0.49, y: 0.64 }, 0.18, -82, 150)],
];
