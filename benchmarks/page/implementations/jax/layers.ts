/** Layers of networks in jax-js: functions of named parameters, each of which is used up once. */

import { lax, nn, numpy as np } from "@jax-js/jax";
import { channelsFirst, eachFirst, outFirst } from "../../data";
import { array, type Arrays, number, type Options } from "../../workload";
import { type Array, arrayOf, tensor } from "./common";
import { EPSILON } from "./functions";

export type Params = { [name: string]: Array };

export function of(params: Params, name: string): Array {
  const found = params[name];
  if (found === undefined) throw new Error(`the network has no ${name}`);
  return found;
}

/** All arrays but the inputs; the filters of convolutions have their outputs first. */
export function parameters(arrays: Arrays): Params {
  const names = [...arrays.keys()].filter((name) => name !== "x" && name !== "y");
  return Object.fromEntries(names.map((name) => {
    const each = array(arrays, name);
    if (each.shape.length !== 4) return [name, tensor(arrays, name)];
    return [name, arrayOf((each.shape[3] === 1 ? eachFirst : outFirst)(each))];
  }));
}

export const images = (arrays: Arrays): Array => arrayOf(channelsFirst(array(arrays, "x")));

export function dense(p: Params, name: string, x: Array): Array {
  return np.matmul(x, of(p, `${name}.w`)).add(of(p, `${name}.b`));
}

export function layerNorm(p: Params, name: string, x: Array): Array {
  return nn.standardize(x, -1, { epsilon: EPSILON })
    .mul(of(p, `${name}.gamma`)).add(of(p, `${name}.beta`));
}

const plane = (x: Array): Array => x.reshape([1, -1, 1, 1]);

export function convolved(p: Params, name: string, x: Array, strides = 1, groups = 1): Array {
  return lax.convGeneralDilated(x, of(p, `${name}.w`), [strides, strides], "SAME", {
    featureGroupCount: groups,
  });
}

/** Over the batch, as training does. */
export function batchNorm(p: Params, name: string, x: Array): Array {
  return nn.standardize(x, [0, 2, 3], { epsilon: EPSILON })
    .mul(plane(of(p, `${name}.gamma`))).add(plane(of(p, `${name}.beta`)));
}

/** With what training has measured. */
export function trainedNorm(p: Params, name: string, x: Array): Array {
  const variance = plane(of(p, `${name}.variance`));
  return nn.standardize(x, [0, 2, 3], { mean: plane(of(p, `${name}.mean`)), variance,
    epsilon: EPSILON })
    .mul(plane(of(p, `${name}.gamma`))).add(plane(of(p, `${name}.beta`)));
}

/** Of (batch, words, width), each head its share of the width. */
export function attention(
  q: Array, k: Array, v: Array, options: Options, isCausal: boolean,
): Array {
  const [batch = 0, words = 0, width = 0] = q.shape;
  const heads = number(options, "heads");
  const parted = (x: Array): Array => x.reshape([batch, words, heads, width / heads]);
  return nn.dotProductAttention(parted(q), parted(k), parted(v), { isCausal })
    .reshape([batch, words, width]);
}
