/** jax-js on its WebAssembly device. */

import { defaultDevice, init } from "@jax-js/jax";
import type { Contender, Families } from "../../workload";
import { lenet, mlp } from "./digits";
import { crossEntropyGradient, elementwise, gemm, norm } from "./functions";
import { embedding, scatterAdd, sort, topK } from "./lookups";
import { bert, gpt, lstm, mobilenet, resnet } from "./networks";
import { adamw } from "./training";
import { convolution, pool } from "./windows";

const FAMILIES: Families = {
  gemm, elementwise, norm, cross_entropy: crossEntropyGradient, adamw, convolution, pool,
  embedding, scatter_add: scatterAdd, sort, top_k: topK, mlp, lenet,
  resnet, lstm, gpt, mobilenet, bert,
};

/** jax-js takes as many threads as navigator says the machine has; browser.py has it say so. */
export async function start(): Promise<Contender> {
  await init("wasm");
  defaultDevice("wasm");
  return {
    prepare: async (workload, arrays) => FAMILIES[workload.family](workload, arrays),
  };
}
