import { afterEach, expect, it, vi } from "vitest";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

it.each([
  ["en", "en"], ["de-CH", "de-CH"], ["zh-Hant-TW", "zh-Hant-TW"], ["C", "en"], ["", "en"],
  ["en_US.UTF-8", "en"], [undefined, "en"],
])("the language %s becomes %s", async (language, expected) => {
  vi.stubGlobal("navigator", { language });
  await import("./locale");
  expect(navigator.language).toBe(expected);
});
