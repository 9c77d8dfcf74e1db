/** ONNX Runtime Web on its WebAssembly execution provider. It runs models and does not train. */

import * as ort from "onnxruntime-web/wasm";
import loaderUrl from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { type Families, type Implementation, unsupported } from "../../workload";
import {
  convolution, elementwise, embedding, gemm, norm, pool, scatterAdd, sort, topK,
} from "./functions";
import { bert, mobilenet } from "./networks";

const untrained = unsupported("ONNX Runtime Web does not train");

const FAMILIES: Families = {
  gemm, elementwise, norm, cross_entropy: untrained, adamw: untrained, convolution, pool,
  embedding, scatter_add: scatterAdd, sort, top_k: topK, mlp: untrained, lenet: untrained,
  resnet: untrained, lstm: untrained, gpt: untrained, mobilenet, bert,
};

export async function start(threads: number): Promise<Implementation> {
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = {
    mjs: new URL(loaderUrl, location.href).href, wasm: new URL(wasmUrl, location.href).href,
  };
  return {
    prepare: async (workload, arrays) => FAMILIES[workload.family](workload, arrays),
  };
}
