/** Layers in jax-js: functions of named parameters, each of which is consumed once. */

import { lax, nn, numpy as np } from "@jax-js/jax";
import { depthwiseOihw, filterOihw, toNchw } from "../../data";
import { array, type Arrays, number, type Options } from "../../workload";
import { type Array, arrayOf, tensor } from "./common";
import { EPSILON } from "./functions";

export type Params = { [name: string]: Array };

export function of(params: Params, name: string): Array {
  const found = params[name];
  if (found === undefined) throw new Error(`the network has no ${name}`);
  return found;
}

/** All arrays but the inputs x and y, with filters in OIHW. */
export function parameters(arrays: Arrays): Params {
  const names = [...arrays.keys()].filter((name) => name !== "x" && name !== "y");
  return Object.fromEntries(names.map((name) => {
    const each = array(arrays, name);
    if (each.shape.length !== 4) return [name, tensor(arrays, name)];
    return [name, arrayOf((each.shape[3] === 1 ? depthwiseOihw : filterOihw)(each))];
  }));
}

export const images = (arrays: Arrays): Array => arrayOf(toNchw(array(arrays, "x")));

export function dense(p: Params, name: string, x: Array): Array {
  return np.matmul(x, of(p, `${name}.w`)).add(of(p, `${name}.b`));
}

export function layerNorm(p: Params, name: string, x: Array): Array {
  return nn.standardize(x, -1, { epsilon: EPSILON })
    .mul(of(p, `${name}.gamma`)).add(of(p, `${name}.beta`));
}

const perChannel = (x: Array): Array => x.reshape([1, -1, 1, 1]);

export function conv(p: Params, name: string, x: Array, strides = 1, groups = 1): Array {
  return lax.convGeneralDilated(x, of(p, `${name}.w`), [strides, strides], "SAME", {
    featureGroupCount: groups,
  });
}

/** Batch norm with the statistics of the batch. */
export function batchNorm(p: Params, name: string, x: Array): Array {
  return nn.standardize(x, [0, 2, 3], { epsilon: EPSILON })
    .mul(perChannel(of(p, `${name}.gamma`))).add(perChannel(of(p, `${name}.beta`)));
}

/** Batch norm with the moving statistics. */
export function batchNormInference(p: Params, name: string, x: Array): Array {
  const variance = perChannel(of(p, `${name}.variance`));
  return nn.standardize(x, [0, 2, 3], { mean: perChannel(of(p, `${name}.mean`)), variance,
    epsilon: EPSILON })
    .mul(perChannel(of(p, `${name}.gamma`))).add(perChannel(of(p, `${name}.beta`)));
}

/** Multi-head attention of (batch, tokens, width) arrays; a head has width / heads columns. */
export function attention(
  q: Array, k: Array, v: Array, options: Options, isCausal: boolean,
): Array {
  const [batch = 0, tokens = 0, width = 0] = q.shape;
  const heads = number(options, "heads");
  const perHead = (x: Array): Array => x.reshape([batch, tokens, heads, width / heads]);
  return nn.dotProductAttention(perHead(q), perHead(k), perHead(v), { isCausal })
    .reshape([batch, tokens, width]);
}
