import { readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const OUT = here("../core/tensorbrook/studio/static");

/**
 * Pyodide, engine and wheel live in the output folder too, so only our own assets are cleared, and
 * only after the new ones are there: who is looking at the page meanwhile keeps a whole one.
 */
const clearOldAssets: Plugin = {
  name: "clear-old-assets",
  apply: "build",
  writeBundle(_, bundle) {
    for (const name of readdirSync(`${OUT}/assets`)) {
      if (!(`assets/${name}` in bundle)) rmSync(`${OUT}/assets/${name}`, { recursive: true });
    }
  },
};

export default defineConfig({
  root: here("."),
  base: "./",
  plugins: [svelte(), clearOldAssets],
  worker: { format: "es" },
  build: {
    outDir: OUT,
    emptyOutDir: false,
    target: "es2022",
    sourcemap: false,
    modulePreload: { polyfill: false },
    rollupOptions: { input: [here("index.html"), here("run.html")] },
  },
  test: { include: ["runtime/**/*.test.ts", "studio/**/*.test.ts"] },
});
