import { expect, it } from "vitest";
import { count, loss, NONE, percent, rate, shape } from "./status";

it.each([
  [percent(0.9777), "97.8 %"], [percent(1), "100.0 %"], [percent(null), NONE],
  [loss(2.302585), "2.303"], [loss(0.04119), "0.0412"], [loss(12345.6), "12346"],
  [loss(null), NONE], [count(38282), "38,282"],
  [rate(12345), "12,000"], [rate(97), "97"], [rate(0), NONE], [rate(null), NONE],
  [shape([6, 6, 32]), "6 × 6 × 32"], [shape([]), ""], [shape(null), NONE],
])("shows %s", (shown, text) => expect(shown).toBe(text));
