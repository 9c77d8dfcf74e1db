import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here("."),
  base: "./",
  worker: { format: "es" },
  build: {
    outDir: here("../../build/benchmarks"),
    emptyOutDir: true,
    target: "es2022",
    // The peers stay unminified: tfjs sends the source text of its functions to its workers.
    minify: false,
    chunkSizeWarningLimit: 10_000,
  },
});
