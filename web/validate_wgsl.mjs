/**
 * Asks Dawn, the WebGPU of Chromium, about shaders. No GPU is needed.
 *
 *     node validate_wgsl.mjs < shaders.json > errors.json
 *
 * In: a list of {code, features}, where features are those of the device that is asked. Out: for
 * each shader what is wrong with it as a compute pipeline with the entry point `main`, or "".
 */

import { readFileSync, writeFileSync } from "node:fs";
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);

const gpu = create(["backend=null"]); // while it is collected, Node crashes: it stays in use below
const devices = new Map();

async function deviceWith(features) {
  const key = features.join();
  if (!devices.has(key)) {
    const adapter = await gpu.requestAdapter();
    devices.set(key, await adapter.requestDevice({ requiredFeatures: features }));
  }
  return devices.get(key);
}

async function mistakeIn({ code, features }) {
  const device = await deviceWith(features);
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
  const error = await device.popErrorScope();
  return error === null ? "" : error.message;
}

const mistakes = [];
for (const shader of JSON.parse(readFileSync(0, "utf8"))) mistakes.push(await mistakeIn(shader));
writeFileSync(1, JSON.stringify(mistakes));
for (const device of devices.values()) device.destroy();
process.exit(gpu === null ? 1 : 0);
