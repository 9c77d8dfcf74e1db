"""Model: a layer made of layers, with training loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .layers.layer import Layer, Shape
from .summary import summary
from .training import Training


class Model(Training, Layer):
    """A layer made of layers, with `compile`, `fit`, `evaluate` and `predict`.

    A subclass creates its layers in `__init__` and calls them in `call`.

    >>> class Classifier(tf.keras.Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = tf.keras.layers.Dense(64, activation="relu")
    ...         self.out = tf.keras.layers.Dense(10)
    ...     def call(self, x):
    ...         return self.out(self.hidden(x))
    """

    def __init__(self, *args: Any, name: str | None = None, trainable: bool = True, **kwargs: Any):
        if args or "inputs" in kwargs:
            raise TypeError(f"{type(self).__name__}: models of inputs and outputs are not "
                            "supported; use tf.keras.Sequential([...]), or derive from "
                            "tf.keras.Model")
        super().__init__(name=name, trainable=trainable, **kwargs)
        self.prepare_training()

    @property
    def layers(self) -> list[Layer]:
        """The layers in the model's attributes, in the order of assignment."""
        return self._tracked(Layer)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer with a name or at an index; InvalidArgumentError if there is none."""
        if index is not None and -len(self.layers) <= index < len(self.layers):
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise self.error(f"unknown layer {name if index is None else index!r}",
                         f"the layers are {', '.join(each.name for each in self.layers) or 'none'}")

    def layer_shapes(self) -> list[Shape | None]:
        """The output shape of each layer; None where it is unknown."""
        return [None] * len(self.layers)

    def summary(self, line_length: int | None = None, print_fn: Callable | None = None) -> None:
        """Print a table of the layers, their output shapes and their parameter counts.

        The table is `line_length` characters wide (79 by default); `print_fn` receives its text
        instead of `print`.
        """
        summary(self, line_length, print_fn)
