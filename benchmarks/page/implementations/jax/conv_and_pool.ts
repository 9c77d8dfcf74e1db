/** Convolutions and pooling in jax-js, with NCHW images and OIHW filters. */

import { lax, numpy as np, vjp } from "@jax-js/jax";
import { depthwiseOihw, filterOihw, toNchw } from "../../data";
import {
  array, type Arrays, flag, number, type Options, type Prepared, type Workload,
} from "../../workload";
import { type Array, arrayOf, type Program, pure } from "./common";

const imagesToNhwc = (...outs: Array[]): Array[] =>
  outs.map((out) => np.transpose(out, [0, 2, 3, 1]));

/** f(x), and the gradient of x for the output cotangent `g`. */
function gradient(f: (x: Array) => Array, x: Array, g: Array): [Array, Array] {
  const [out, pullback] = vjp(f, [x]);
  const [dx] = pullback(g);
  pullback.dispose();
  return [out, dx];
}

function convolver(options: Options, groups: number): (x: Array, w: Array) => Array {
  const [strides, dilations] = [number(options, "strides"), number(options, "dilations")];
  return (x, w) => lax.convGeneralDilated(x, w, [strides, strides], "SAME", {
    rhsDilation: [dilations, dilations], featureGroupCount: groups,
  });
}

export function convolution({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const depthwise = flag(options, "depthwise");
  const images = ["x", "g"].map((name) => arrayOf(toNchw(array(arrays, name))));
  const filter = arrayOf((depthwise ? depthwiseOihw : filterOihw)(array(arrays, "w")));
  const convolve = convolver(options, depthwise ? filter.shape[0] ?? 1 : 1);
  const only = ([out, dx]: [Array, Array]): Array[] => (out.dispose(), [dx]);
  const programs: Readonly<Record<string, Program>> = {
    forward: (x: Array, g: Array, w: Array) => (g.dispose(), [convolve(x, w)]),
    input: (x: Array, g: Array, w: Array) => only(gradient((image) => convolve(image, w), x, g)),
    filter: (x: Array, g: Array, w: Array) => only(gradient((v) => convolve(x, v), w, g)),
  };
  const direction = String(options.direction);
  const program = programs[direction];
  if (program === undefined) throw new Error(`a convolution has no direction ${direction}`);
  const toHwio = depthwise ? [2, 3, 0, 1] : [2, 3, 1, 0];
  const filterToHwio = (out: Array): Array[] => [np.transpose(out, toHwio)];
  return pure(program, [...images, filter], direction === "filter" ? filterToHwio : imagesToNhwc);
}

/** 2x2 pooling by a reshape, which is faster here than lax.reduceWindow. */
export function pool2x2(x: Array, kind: string): Array {
  const [n = 0, c = 0, h = 0, w = 0] = x.shape;
  const windows = x.reshape([n, c, h / 2, 2, w / 2, 2]);
  return kind === "max" ? np.max(windows, [3, 5]) : np.mean(windows, [3, 5]);
}

export function pool({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const kind = String(options.kind);
  const inputs = [...arrays.values()].map((each) => arrayOf(toNchw(each)));
  if (!flag(options, "gradient")) {
    return pure((x: Array) => [pool2x2(x, kind)], inputs, imagesToNhwc);
  }
  return pure(
    (x: Array, g: Array) => gradient((image) => pool2x2(image, kind), x, g), inputs, imagesToNhwc);
}
