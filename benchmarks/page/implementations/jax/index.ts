/** jax-js on its WebAssembly device. */

import { defaultDevice, init } from "@jax-js/jax";
import type { Families, Implementation } from "../../workload";
import { lenet, mlp } from "./digits";
import { crossEntropyGradient, elementwise, gemm, norm } from "./functions";
import { embedding, scatterAdd, sort, topK } from "./gather_and_sort";
import { bert, gpt, lstm, mobilenet, resnet } from "./networks";
import { adamw } from "./training";
import { convolution, pool } from "./conv_and_pool";

const FAMILIES: Families = {
  gemm, elementwise, norm, cross_entropy: crossEntropyGradient, adamw, convolution, pool,
  embedding, scatter_add: scatterAdd, sort, top_k: topK, mlp, lenet,
  resnet, lstm, gpt, mobilenet, bert,
};

/** jax-js starts `navigator.hardwareConcurrency` threads, which browser.py overrides. */
export async function start(): Promise<Implementation> {
  await init("wasm");
  defaultDevice("wasm");
  return {
    prepare: async (workload, arrays) => FAMILIES[workload.family](workload, arrays),
  };
}
