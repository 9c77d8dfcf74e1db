/** The MLP and LeNet in jax-js. */

import { lax, nn, numpy as np } from "@jax-js/jax";
import { filterOihw, toNchw, transpose } from "../../data";
import { array, type Arrays, type Prepared, type Workload } from "../../workload";
import { type Array, arrayOf, tensor } from "./common";
import { crossEntropy } from "./functions";
import { of, type Params } from "./layers";
import { training } from "./training";
import { pool2x2 } from "./conv_and_pool";

/** Dense layers with ReLU between them. */
function dense(params: Params, x: Array, first: number, last: number): Array {
  let h = x;
  for (let i = first; i <= last; i++) {
    const z = np.matmul(h, of(params, `w${i}`)).add(of(params, `b${i}`));
    h = i < last ? nn.relu(z) : z;
  }
  return h;
}

function params(arrays: Arrays, layers: number): Params {
  const names = Array.from({ length: layers }, (_, i) => [`w${i + 1}`, `b${i + 1}`]).flat();
  return Object.fromEntries(names.map((name) => [name, tensor(arrays, name)]));
}

export function mlp({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  return training(options, (p, x, y) => crossEntropy(dense(p, x, 1, 3), y), params(arrays, 3),
    tensor(arrays, "x"), tensor(arrays, "y"));
}

function convPool(p: Params, x: Array, i: number): Array {
  const bias = of(p, `b${i}`).reshape([1, -1, 1, 1]);
  return pool2x2(nn.relu(lax.conv(x, of(p, `w${i}`), [1, 1], "VALID").add(bias)), "max");
}

function lenetLogits(p: Params, x: Array): Array {
  const images = convPool(p, convPool(p, x, 1), 2);
  return dense(p, images.reshape([images.shape[0] ?? 0, -1]), 3, 5);
}

/** LeNet in the layouts of jax-js: images NCHW, filters OIHW, the rows of w3 reordered. */
export function lenet({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const p = params(arrays, 5);
  for (const name of ["w1", "w2"]) p[name] = arrayOf(filterOihw(array(arrays, name)));
  const flat = transpose({ ...array(arrays, "w3"), shape: [4, 4, 16, 120] }, [2, 0, 1, 3]);
  p.w3 = arrayOf({ ...flat, shape: [256, 120] });
  const x = arrayOf(toNchw(array(arrays, "x")));
  return training(options, (q, images, y) => crossEntropy(lenetLogits(q, images), y), p, x,
    tensor(arrays, "y"));
}
