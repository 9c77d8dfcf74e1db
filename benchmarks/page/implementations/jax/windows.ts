/** Convolutions and pooling in jax-js, which takes channels first and filters out first. */

import { lax, numpy as np, vjp } from "@jax-js/jax";
import { channelsFirst, eachFirst, outFirst } from "../../data";
import {
  array, type Arrays, flag, number, type Options, type Ready, type Workload,
} from "../../workload";
import { type Array, arrayOf, type Program, pure } from "./common";

const imagesShown = (...outs: Array[]): Array[] =>
  outs.map((out) => np.transpose(out, [0, 2, 3, 1]));

/** The gradient of `f` at `x`, of an output whose gradient is `g`; also the output. */
function gradient(f: (x: Array) => Array, x: Array, g: Array): [Array, Array] {
  const [out, back] = vjp(f, [x]);
  const [dx] = back(g);
  back.dispose();
  return [out, dx];
}

function convolver(options: Options, groups: number): (x: Array, w: Array) => Array {
  const [strides, dilations] = [number(options, "strides"), number(options, "dilations")];
  return (x, w) => lax.convGeneralDilated(x, w, [strides, strides], "SAME", {
    rhsDilation: [dilations, dilations], featureGroupCount: groups,
  });
}

export function convolution({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const depthwise = flag(options, "depthwise");
  const images = ["x", "g"].map((name) => arrayOf(channelsFirst(array(arrays, name))));
  const filter = arrayOf((depthwise ? eachFirst : outFirst)(array(arrays, "w")));
  const convolve = convolver(options, depthwise ? filter.shape[0] ?? 1 : 1);
  const only = ([out, dx]: [Array, Array]): Array[] => (out.dispose(), [dx]);
  const programs: Readonly<Record<string, Program>> = {
    forward: (x: Array, g: Array, w: Array) => (g.dispose(), [convolve(x, w)]),
    input: (x: Array, g: Array, w: Array) => only(gradient((image) => convolve(image, w), x, g)),
    filter: (x: Array, g: Array, w: Array) => only(gradient((v) => convolve(x, v), w, g)),
  };
  const which = String(options.which);
  const program = programs[which];
  if (program === undefined) throw new Error(`a convolution has no ${which}`);
  const back = depthwise ? [2, 3, 0, 1] : [2, 3, 1, 0];
  const filterShown = (out: Array): Array[] => [np.transpose(out, back)];
  return pure(program, [...images, filter], which === "filter" ? filterShown : imagesShown);
}

/** By a reshape, which is faster here than lax.reduceWindow. */
export function pooled(x: Array, kind: string): Array {
  const [n = 0, c = 0, h = 0, w = 0] = x.shape;
  const windows = x.reshape([n, c, h / 2, 2, w / 2, 2]);
  return kind === "max" ? np.max(windows, [3, 5]) : np.mean(windows, [3, 5]);
}

export function pool({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const kind = String(options.kind);
  const inputs = [...arrays.values()].map((each) => arrayOf(channelsFirst(each)));
  if (!flag(options, "gradient")) {
    return pure((x: Array) => [pooled(x, kind)], inputs, imagesShown);
  }
  return pure(
    (x: Array, g: Array) => gradient((image) => pooled(image, kind), x, g), inputs, imagesShown);
}
