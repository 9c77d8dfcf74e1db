"""Model: layers that are trained together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .layers.layer import Layer, Shape
from .summary import summary
from .training import Training


class Model(Training, Layer):
    """A layer made of layers, with `compile`, `fit`, `evaluate` and `predict`.

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
            raise TypeError(f"{type(self).__name__}: models of inputs and outputs are not there "
                            "yet; use tf.keras.Sequential([...]), or derive from tf.keras.Model")
        super().__init__(name=name, trainable=trainable, **kwargs)
        self.prepare_training()

    @property
    def layers(self) -> list[Layer]:
        return self._tracked(Layer)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of that name, or at that place."""
        if index is not None and -len(self.layers) <= index < len(self.layers):
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise self.error(f"there is no layer {name if index is None else index!r}",
                           f"it has {', '.join(each.name for each in self.layers) or 'none'}")

    def layer_shapes(self) -> list[Shape | None]:
        """The output shape of each layer, where it is known."""
        return [None] * len(self.layers)

    def summary(self, line_length: int | None = None, print_fn: Callable | None = None) -> None:
        """Print a table of the layers."""
        summary(self, line_length, print_fn)
