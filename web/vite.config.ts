import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const OUT = here("../core/tensorbrook/studio/static");

/** Pyodide, engine and wheel live in the output folder too, so only our own assets are cleared. */
const clearAssets: Plugin = {
  name: "clear-assets",
  apply: "build",
  buildStart: () => rmSync(`${OUT}/assets`, { recursive: true, force: true }),
};

export default defineConfig({
  root: here("."),
  base: "./",
  plugins: [svelte(), clearAssets],
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
