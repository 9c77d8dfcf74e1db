import { expect, it } from "vitest";
import {
  formatCount, formatLoss, formatPercent, formatRate, formatShape, NO_VALUE,
} from "./status";

it.each([
  [formatPercent(0.9777), "97.8 %"], [formatPercent(1), "100.0 %"],
  [formatPercent(null), NO_VALUE],
  [formatLoss(2.302585), "2.303"], [formatLoss(0.04119), "0.0412"],
  [formatLoss(12345.6), "12346"], [formatLoss(null), NO_VALUE],
  [formatCount(38282), "38,282"],
  [formatRate(12345), "12,000"], [formatRate(97), "97"], [formatRate(0), NO_VALUE],
  [formatRate(null), NO_VALUE],
  [formatShape([6, 6, 32]), "6 × 6 × 32"], [formatShape([]), ""], [formatShape(null), NO_VALUE],
])("formats %s", (formatted, text) => expect(formatted).toBe(text));
