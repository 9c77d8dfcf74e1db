/** Convolutions and pooling in TensorFlow.js. */

import * as tf from "@tensorflow/tfjs";
import { type Arrays, flag, number, type Ready, type Workload } from "../../workload";
import { images, pure, tensor } from "./common";

type Convolve = (x: tf.Tensor4D, w: tf.Tensor4D) => tf.Tensor4D;

export function convolution({ options }: Workload, arrays: Arrays): Ready {
  const [x, w, g] = [images(tensor(arrays, "x")), images(tensor(arrays, "w")),
    images(tensor(arrays, "g"))];
  const [strides, dilations] = [number(options, "strides"), number(options, "dilations")];
  const convolve: Convolve = flag(options, "depthwise")
    ? (a, b) => tf.depthwiseConv2d(a, b, strides, "same", "NHWC", dilations)
    : (a, b) => tf.conv2d(a, b, strides, "same", "NHWC", dilations);
  // The public name of a convolution's gradient; it knows no dilations and no depthwise filters.
  const plain = dilations === 1 && !flag(options, "depthwise");
  const ofInput = (): tf.Tensor => plain
    ? tf.conv2dTranspose(g, w, x.shape, strides, "same")
    : tf.grad((image: tf.Tensor) => convolve(images(image), w))(x, g);
  const ofFilter = tf.grad((filter: tf.Tensor) => convolve(x, images(filter)));
  switch (options.which) {
    case "forward": return pure(() => [convolve(x, w)], [x, w, g]);
    case "input": return pure(() => [ofInput()], [x, w, g]);
    case "filter": return pure(() => [ofFilter(w, g)], [x, w, g]);
    default: throw new Error(`a convolution has no ${options.which}`);
  }
}

export function pool({ options }: Workload, arrays: Arrays): Ready {
  const x = images(tensor(arrays, "x"));
  const pooled = (image: tf.Tensor): tf.Tensor =>
    (options.kind === "max" ? tf.maxPool : tf.avgPool)(images(image), 2, 2, "valid");
  if (!flag(options, "gradient")) return pure(() => [pooled(x)], [x]);
  const g = tensor(arrays, "g");
  const gradient = tf.valueAndGrad(pooled);
  return pure(() => {
    const { value, grad } = gradient(x, g);
    return [value, grad];
  }, [x, g]);
}
