/** TensorFlow.js on its WebAssembly backend. */

import * as tf from "@tensorflow/tfjs";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import threadedUrl
  from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url";
import simdUrl from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url";
import plainUrl from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url";
import { type Families, type Implementation, unsupported } from "../../workload";
import { crossEntropyGradient, elementwise, gemm, norm } from "./functions";
import { embedding, scatterAdd, sort, topK } from "./gather_and_sort";
import { bert, gpt, lstm, mobilenet } from "./networks";
import { lenet, mlp } from "./training";
import { convolution, pool } from "./conv_and_pool";

const FAMILIES: Families = {
  gemm, elementwise, norm, cross_entropy: crossEntropyGradient,
  adamw: unsupported("the Adam of TensorFlow.js has no weight decay"),
  convolution, pool, embedding, scatter_add: scatterAdd, sort, top_k: topK, mlp, lenet,
  resnet: unsupported("TensorFlow.js has no gradient of a convolution's filter in WebAssembly"),
  lstm, gpt, mobilenet, bert,
};

export async function start(threads: number): Promise<Implementation> {
  setWasmPaths({
    "tfjs-backend-wasm.wasm": plainUrl,
    "tfjs-backend-wasm-simd.wasm": simdUrl,
    "tfjs-backend-wasm-threaded-simd.wasm": threadedUrl,
  });
  setThreadsCount(threads);
  await tf.setBackend("wasm");
  await tf.ready();
  return {
    prepare: async (workload, arrays) => FAMILIES[workload.family](workload, arrays),
  };
}
