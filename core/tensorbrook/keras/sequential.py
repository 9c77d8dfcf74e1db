"""Sequential: layers one after the other."""

from __future__ import annotations

from typing import Any

import tensorbrook as tf

from ..base.errors import FailedPreconditionError
from .layers.layer import KerasTensor, Layer, Shape
from .model import Model


class Sequential(Model):
    """A model that hands its input from layer to layer.

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
        self._shapes: list[Shape] = []  # the input's, then each layer's output; empty: not built
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Layer | KerasTensor) -> None:
        """Put a layer at the end."""
        if isinstance(layer, KerasTensor):
            if self._layers or self._input:
                raise self.error("Input comes after other layers", "put it first, once")
            self._input = layer
            self.build(layer.shape)
            return
        if not isinstance(layer, Layer):
            raise self.error(f"{layer!r} is not a layer", "use tf.keras.layers: Dense(10)")
        if any(each is layer or each.name == layer.name for each in self._layers):
            raise self.error(f"there is already a layer {layer.name}",
                               "give each layer a name of its own")
        if layer._input_shape_argument and not self._layers and not self._input:
            self.add(KerasTensor(layer._input_shape_argument))
        if self._shapes:
            self._build_next(layer)
        self._layers.append(layer)
        self.reset_functions()

    def pop(self) -> Layer:
        """Take the last layer away."""
        if not self._layers:
            raise self.error("it has no layers", "add one first")
        self._shapes = self._shapes[:len(self._layers)]
        self.reset_functions()
        return self._layers.pop()

    def build(self, input_shape: Any = None) -> None:
        """Make the weights of every layer for inputs of that shape."""
        if input_shape is None:
            raise self.error("the shape of its input is not known",
                               "begin it with tf.keras.Input(shape), or give build a shape")
        self._shapes = [tuple(input_shape)]
        for layer in self._layers:
            self._build_next(layer)

    def _build_next(self, layer: Layer) -> None:
        """Build one more layer on the shapes that are known."""
        shape = self._shapes[-1]
        if not layer.built:
            layer.build(shape)
        self._shapes.append(tuple(layer.compute_output_shape(shape)))

    def prepare_input(self, x: Any) -> Any:
        """The input as a tensor of the shape that Input said; (n,) may stand for (n, 1)."""
        x = super().prepare_input(x)
        wanted = self._input and self._input.shape
        if not wanted:
            return x
        if x.ndim == len(wanted) - 1 and wanted[-1] == 1:
            x = tf.expand_dims(x, -1)
        fits = x.ndim == len(wanted) and all(
            k is None or n == k for n, k in zip(x.shape[1:], wanted[1:]))
        if not fits:
            raise self.error(f"the input has shape {tuple(x.shape)}",
                               f"it was built for {wanted}, where None is the batch")
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
        return list(self._layers)

    def layer_shapes(self) -> list[Shape | None]:
        return list(self._shapes[1:]) or [None] * len(self._layers)

    @property
    def input_shape(self) -> Shape:
        return self._require_shapes()[0]

    @property
    def output_shape(self) -> Shape:
        return self._require_shapes()[-1]

    def _require_shapes(self) -> list[Shape]:
        if not self._shapes:
            raise FailedPreconditionError(self.display_name, "it is not built yet",
                                          "begin it with tf.keras.Input(shape), or call it on data")
        return self._shapes
