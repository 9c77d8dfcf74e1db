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
    // The peers are taken as they come: tfjs sends the text of its own functions to its workers.
    minify: false,
    chunkSizeWarningLimit: 10_000,
  },
});
