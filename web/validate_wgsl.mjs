/**
 * Validates WGSL shaders with Dawn, Chromium's WebGPU implementation. Requires no GPU.
 *
 *     node validate_wgsl.mjs < shaders.json > errors.json
 *
 * Input: a list of {code, features} with the device features that the shader requires. Output: for
 * each shader the validation error of a compute pipeline with the entry point `main`, or "".
 */

import { readFileSync, writeFileSync } from "node:fs";
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);

const gpu = create(["backend=null"]); // Node crashes when it is collected, so it is used below
const devices = new Map();

async function deviceWith(features) {
  const key = features.join();
  if (!devices.has(key)) {
    const adapter = await gpu.requestAdapter();
    devices.set(key, await adapter.requestDevice({ requiredFeatures: features }));
  }
  return devices.get(key);
}

async function validationError({ code, features }) {
  const device = await deviceWith(features);
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
  const error = await device.popErrorScope();
  return error === null ? "" : error.message;
}

const errors = [];
for (const shader of JSON.parse(readFileSync(0, "utf8"))) {
  errors.push(await validationError(shader));
}
writeFileSync(1, JSON.stringify(errors));
for (const device of devices.values()) device.destroy();
process.exit(gpu === null ? 1 : 0);
