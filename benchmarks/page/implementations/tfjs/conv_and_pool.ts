/** Convolutions and pooling in TensorFlow.js. */

import * as tf from "@tensorflow/tfjs";
import { type Arrays, flag, number, type Prepared, type Workload } from "../../workload";
import { images, pure, tensor } from "./common";

type Convolve = (x: tf.Tensor4D, w: tf.Tensor4D) => tf.Tensor4D;

export function convolution({ options }: Workload, arrays: Arrays): Prepared {
  const [x, w, g] = [images(tensor(arrays, "x")), images(tensor(arrays, "w")),
    images(tensor(arrays, "g"))];
  const [strides, dilations] = [number(options, "strides"), number(options, "dilations")];
  const convolve: Convolve = flag(options, "depthwise")
    ? (a, b) => tf.depthwiseConv2d(a, b, strides, "same", "NHWC", dilations)
    : (a, b) => tf.conv2d(a, b, strides, "same", "NHWC", dilations);
  // conv2dTranspose is the input gradient; it supports neither dilations nor depthwise filters.
  const isPlain = dilations === 1 && !flag(options, "depthwise");
  const inputGradient = (): tf.Tensor => isPlain
    ? tf.conv2dTranspose(g, w, x.shape, strides, "same")
    : tf.grad((image: tf.Tensor) => convolve(images(image), w))(x, g);
  const filterGradient = tf.grad((filter: tf.Tensor) => convolve(x, images(filter)));
  switch (options.direction) {
    case "forward": return pure(() => [convolve(x, w)], [x, w, g]);
    case "input": return pure(() => [inputGradient()], [x, w, g]);
    case "filter": return pure(() => [filterGradient(w, g)], [x, w, g]);
    default: throw new Error(`a convolution has no direction ${options.direction}`);
  }
}

export function pool({ options }: Workload, arrays: Arrays): Prepared {
  const x = images(tensor(arrays, "x"));
  const pool2x2 = (image: tf.Tensor): tf.Tensor =>
    (options.kind === "max" ? tf.maxPool : tf.avgPool)(images(image), 2, 2, "valid");
  if (!flag(options, "gradient")) return pure(() => [pool2x2(x)], [x]);
  const g = tensor(arrays, "g");
  const gradient = tf.valueAndGrad(pool2x2);
  return pure(() => {
    const { value, grad } = gradient(x, g);
    return [value, grad];
  }, [x, g]);
}
