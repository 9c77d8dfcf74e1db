import { readdirSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const resolvePath = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const OUTPUT_FOLDER = resolvePath("../core/tensorbrook/studio/static");

/**
 * Pyodide, engine and wheel are in the output folder too, so only old assets are deleted, and only
 * after the new ones are written: a page that is open during the build stays complete.
 */
const deleteOldAssets: Plugin = {
  name: "delete-old-assets",
  apply: "build",
  writeBundle(_, bundle) {
    for (const name of readdirSync(`${OUTPUT_FOLDER}/assets`)) {
      if (`assets/${name}` in bundle) continue;
      rmSync(`${OUTPUT_FOLDER}/assets/${name}`, { recursive: true });
    }
  },
};

/** Inserts the script that reports failures before all others, so that it cannot fail to load. */
const reportFailures: Plugin = {
  name: "report-failures",
  transformIndexHtml: () => [{
    tag: "script", injectTo: "head-prepend", children: readFileSync(resolvePath("start_failure.js"), "utf8"),
  }],
};

export default defineConfig({
  root: resolvePath("."),
  base: "./",
  plugins: [svelte(), deleteOldAssets, reportFailures],
  worker: { format: "es" },
  build: {
    outDir: OUTPUT_FOLDER,
    emptyOutDir: false,
    target: "es2022",
    sourcemap: false,
    modulePreload: { polyfill: false },
    rollupOptions: { input: [resolvePath("index.html"), resolvePath("run.html")] },
  },
  test: { include: ["runtime/**/*.test.ts", "studio/**/*.test.ts"] },
});
