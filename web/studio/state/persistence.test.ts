import { expect, it } from "vitest";
import { parsePersistedModel } from "./persistence";

const settings = { optimizer: "adam", learning_rate: 0.001, batch_size: 64, seed: 0 };
const layers = [{ type: "Dense", args: { units: 10, activation: "relu" } }];

it("reads a persisted model", () =>
  expect(parsePersistedModel(JSON.stringify({ layers, settings }))).toEqual({ layers, settings }));

it.each([
  null, "", "no json", "null", "[]", "{}",
  JSON.stringify({ layers }), JSON.stringify({ layers: [1], settings }),
  JSON.stringify({ layers, settings: { ...settings, optimizer: "magic" } }),
  JSON.stringify({ layers: [{ type: "Dense", args: { units: [] } }], settings }),
  JSON.stringify({ layers, settings: { ...settings, seed: "0" } }),
])("ignores %s", (text) => expect(parsePersistedModel(text)).toBeNull());
