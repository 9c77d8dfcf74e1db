"""Core layers: Input, Dense, Dropout, and activation layers."""

from __future__ import annotations

from typing import Any

import tensorbrook as tf

from ...base.errors import InvalidArgumentError
from .. import activations, argument_checks, auto_names, initializers
from .layer import KerasTensor, Layer, Shape


def Input(shape: Any = None, batch_size: int | None = None, dtype: Any = None, *,
          name: str | None = None) -> KerasTensor:
    """Declare the shape of a model's input, without the batch: `Input((8, 8, 1))`.

    A size may be None if it is unknown. Raises InvalidArgumentError unless `shape` is a tuple of
    positive integers and None.
    """
    if isinstance(shape, int):
        raise InvalidArgumentError("Input", f"shape is {shape}", f"use a tuple: ({shape},)")
    if shape is None:
        raise InvalidArgumentError("Input", "shape is missing",
                                   "pass it without the batch, such as (8, 8)")
    for n in shape:
        if n is not None:
            argument_checks.require_int("Input", "each size of shape", n)
    return KerasTensor((batch_size, *shape), dtype or "float32",
                       name or auto_names.unique_name("input_layer"))


class Dense(Layer):
    """Fully connected layer: activation(x @ kernel + bias) along the last axis.

    Input (batch, ..., features), output (batch, ..., units). Raises InvalidArgumentError unless
    `units` is a positive integer.

    >>> tf.keras.layers.Dense(10, activation="relu")(tf.zeros((2, 64))).shape
    (2, 10)
    """

    casts_to_float = True
    input_rank, input_format = (2, None), "(batch, ..., features); add a batch axis with x[None]"

    def __init__(self, units: int, activation: Any = None, use_bias: bool = True,
                 kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
                 **kwargs: Any):
        super().__init__(**kwargs)
        self.units = argument_checks.require_int(self.display_name, "units", units)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, input_shape: Any = None) -> None:
        features = self.checked_input_shape(input_shape)[-1]
        if features is None:
            raise self.error(f"the input has shape {tuple(input_shape)}",
                             "its last size must be known")
        self.kernel = self.add_weight((features, self.units), self.kernel_initializer,
                                      name="kernel")
        self.bias = self.add_weight((self.units,), self.bias_initializer, name="bias") \
            if self.use_bias else None

    def call(self, x: tf.Tensor) -> tf.Tensor:
        features = self.kernel.shape[0]
        if x.shape[-1] != features:
            raise self.error(f"the input has shape {tuple(x.shape)}",
                             f"the layer was built for {features} features in the last axis")
        out = tf.matmul(x, self.kernel)
        return self.activation(out + self.bias if self.use_bias else out)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return (*self.checked_input_shape(input_shape)[:-1], self.units)


class Elementwise(Layer):
    """Base class of layers whose output has the shape of the input."""

    casts_to_float = True

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return self.checked_input_shape(input_shape)


class Activation(Elementwise):
    """Applies an activation function: `Activation("tanh")`."""

    def __init__(self, activation: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.activation(x)


class ReLU(Elementwise):
    """Rectified linear unit: max(x, 0) with the default arguments (see `activations.relu`)."""

    def __init__(self, max_value: float | None = None, negative_slope: float = 0.0,
                 threshold: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.max_value, self.negative_slope = max_value, negative_slope
        self.threshold = threshold

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return activations.relu(x, self.negative_slope, self.max_value, self.threshold)


class LeakyReLU(Elementwise):
    """x where x is positive, else `negative_slope * x`."""

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any):
        super().__init__(**kwargs)
        self.negative_slope = negative_slope

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return activations.leaky_relu(x, self.negative_slope)


class ELU(Elementwise):
    """x where x is positive, else `alpha * (exp(x) - 1)`."""

    def __init__(self, alpha: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha = alpha

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return activations.elu(x, self.alpha)


class PReLU(Elementwise):
    """x where x is positive, else alpha * x with a trainable alpha (arXiv:1502.01852).

    alpha has the shape of a sample, with size 1 along the `shared_axes` (counted with the batch).
    """

    input_rank, input_format = (2, None), "(batch, ...)"

    def __init__(self, alpha_initializer: Any = "zeros", shared_axes: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.shared_axes = None if shared_axes is None else list(shared_axes)

    def build(self, input_shape: Any = None) -> None:
        shape = self.checked_input_shape(input_shape)
        sizes = tuple(1 if a in (self.shared_axes or ()) else n for a, n in enumerate(shape))
        self.alpha = self.add_weight(sizes[1:], self.alpha_initializer, name="alpha")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.where(x > 0.0, x, x * self.alpha)


class Identity(Elementwise):
    """Returns its input unchanged."""

    casts_to_float = False

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x


class Rescaling(Elementwise):
    """x * scale + offset: `Rescaling(1 / 255)` maps the bytes of an image to 0..1."""

    def __init__(self, scale: float, offset: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset

    def call(self, x: tf.Tensor) -> tf.Tensor:
        scaled = x * tf.constant(self.scale, x.dtype)
        return scaled + tf.constant(self.offset, x.dtype) if self.offset != 0.0 else scaled


class Softmax(Elementwise):
    """exp(x) / sum(exp(x)) along `axis`."""

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return activations.softmax(x, self.axis)


class Dropout(Elementwise):
    """Dropout (Srivastava et al., 2014): in training, sets a random fraction of elements to 0.

    `rate` in [0, 1) is the fraction; the other elements are multiplied by 1 / (1 - rate), which
    keeps the expected sum. Along the axes of size 1 in `noise_shape` all elements share one random
    decision; None means the size of the input. Raises InvalidArgumentError for another rate.
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None,
                 **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = argument_checks.require_fraction(self.display_name, "rate", rate)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        self.seed = seed
        self._random = None if seed is None else tf.random.Generator(seed)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or not self.rate:
            return x
        noise_shape = tuple(
            n if k is None else k for k, n in zip(self.noise_shape or (None,) * x.ndim, x.shape))
        generator = self._random or tf.random.get_global_generator()
        is_kept = generator.uniform(noise_shape) >= self.rate
        return tf.where(is_kept, x * (1.0 / (1.0 - self.rate)), 0.0)
