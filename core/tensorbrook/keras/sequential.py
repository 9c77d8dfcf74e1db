"""Sequential: a model that is a chain of layers."""

from __future__ import annotations

from typing import Any

import tensorbrook as tf

from ..base.errors import FailedPreconditionError
from .layers.layer import KerasTensor, Layer, Shape
from .model import Model


class Sequential(Model):
    """A model that passes its input through a list of layers.

    It is built at once if it begins with `tf.keras.Input` or a layer with `input_shape`, else on
    its first call.

    >>> model = tf.keras.Sequential([
    ...     tf.keras.Input((8, 8, 1)),
    ...     tf.keras.layers.Flatten(),
    ...     tf.keras.layers.Dense(10, activation="softmax"),
    ... ])
    """

    def __init__(self, layers: Any = None, trainable: bool = True, name: str | None = None):
        super().__init__(name=name, trainable=trainable)
        self._layers: list[Layer] = []
        self._input: KerasTensor | None = None
        self._shapes: list[Shape] = []  # input shape, then output shapes; empty if not built
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Layer | KerasTensor) -> None:
        """Append a layer.

        Raises InvalidArgumentError for an Input after other layers, and for a name in use.
        """
        if isinstance(layer, KerasTensor):
            if self._layers or self._input:
                raise self.error("Input comes after other layers", "pass one Input, as the first")
            self._input = layer
            self.build(layer.shape)
            return
        if not isinstance(layer, Layer):
            raise self.error(f"{layer!r} is not a layer", "use tf.keras.layers: Dense(10)")
        if any(each is layer or each.name == layer.name for each in self._layers):
            raise self.error(f"there is already a layer {layer.name}",
                             "give each layer a unique name")
        if layer._input_shape_argument and not self._layers and not self._input:
            self.add(KerasTensor(layer._input_shape_argument))
        if self._shapes:
            self._build_next(layer)
        self._layers.append(layer)
        self.reset_functions()

    def pop(self) -> Layer:
        """Remove the last layer, and return it."""
        if not self._layers:
            raise self.error("it has no layers", "add a layer first")
        self._shapes = self._shapes[:len(self._layers)]
        self.reset_functions()
        return self._layers.pop()

    def build(self, input_shape: Any = None) -> None:
        """Create the weights of every layer for inputs (batch, ...) of a shape."""
        if input_shape is None:
            raise self.error("the input shape is unknown",
                             "begin with tf.keras.Input(shape), or pass a shape to build")
        self._shapes = [tuple(input_shape)]
        for layer in self._layers:
            self._build_next(layer)

    def _build_next(self, layer: Layer) -> None:
        """Build the layer after the last known shape, and append its output shape."""
        shape = self._shapes[-1]
        if not layer.built:
            layer.build(shape)
        self._shapes.append(tuple(layer.compute_output_shape(shape)))

    def prepare_input(self, x: Any) -> Any:
        """The input as a Tensor of the shape of Input; a missing last axis of size 1 is added."""
        x = super().prepare_input(x)
        expected = self._input and self._input.shape
        if not expected:
            return x
        if x.ndim == len(expected) - 1 and expected[-1] == 1:
            x = tf.expand_dims(x, -1)
        matches = x.ndim == len(expected) and all(
            k is None or n == k for n, k in zip(x.shape[1:], expected[1:]))
        if not matches:
            raise self.error(f"the input has shape {tuple(x.shape)}",
                             f"the model was built for {expected}, where None is the batch")
        return x

    def call(self, x: Any, training: bool = False) -> Any:
        for layer in self._layers:
            x = layer(x)
        return x

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = tuple(input_shape)
        for layer in self._layers:
            shape = tuple(layer.compute_output_shape(shape))
        return shape

    @property
    def layers(self) -> list[Layer]:
        """The layers, in order."""
        return list(self._layers)

    def layer_shapes(self) -> list[Shape | None]:
        return list(self._shapes[1:]) or [None] * len(self._layers)

    @property
    def input_shape(self) -> Shape:
        """The input shape; FailedPreconditionError if the model is not built."""
        return self._require_shapes()[0]

    @property
    def output_shape(self) -> Shape:
        """The output shape; FailedPreconditionError if the model is not built."""
        return self._require_shapes()[-1]

    def _require_shapes(self) -> list[Shape]:
        if not self._shapes:
            raise FailedPreconditionError(self.display_name, "the model is not built",
                                          "begin with tf.keras.Input(shape), or call it on data")
        return self._shapes
