"""Code generation: the Studio's model as a Python program that builds and trains it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .layer_specs import IMAGE, TYPES, LayerSpec

OPTIMIZERS = {"adam": "Adam", "sgd": "SGD"}
EPOCHS = 10

DEFAULTS = {"activation": "linear", "padding": "valid", "strides": 1}
POSITIONAL = ("filters", "kernel_size", "pool_size", "units", "rate")

TEMPLATE = """\
import tensorbrook as tf
from tensorbrook.keras import Sequential, layers, losses, optimizers

tf.random.set_seed({seed})
(x_train, y_train), (x_test, y_test) = tf.keras.datasets.digits.load_data()

model = Sequential([
    layers.Input({image}),
{layers}])
model.compile(
    optimizer=optimizers.{optimizer}(learning_rate={learning_rate}),
    loss=losses.SparseCategoricalCrossentropy(from_logits={from_logits}),
    metrics=["accuracy"],
)
model.fit(
    x_train, y_train, batch_size={batch_size}, epochs={epochs},
    validation_data=(x_test, y_test),
)
"""


def program_source(specs: Sequence[LayerSpec], settings: Any) -> str:
    """A complete program that builds the model and trains it as the Studio does."""
    layers = "".join(f"    {layer_source(spec)},\n" for spec in specs)
    return TEMPLATE.format(
        seed=settings.seed, image=IMAGE, layers=layers,
        optimizer=OPTIMIZERS[settings.optimizer], learning_rate=settings.learning_rate,
        from_logits=not gives_probabilities(specs), batch_size=settings.batch_size, epochs=EPOCHS)


def gives_probabilities(specs: Sequence[LayerSpec]) -> bool:
    """Whether the activation of the last layer is softmax; else its outputs are logits."""
    return bool(specs) and specs[-1].args.get("activation") == "softmax"


def layer_source(spec: LayerSpec) -> str:
    """The constructor call of a layer, without arguments that have their default value.

    >>> layer_source(LayerSpec("Dense", {"units": 10, "activation": "linear"}))
    'layers.Dense(10)'
    """
    arguments = {name: spec.args[name] for name in TYPES[spec.type]
                 if name in spec.args and spec.args[name] != default_value(spec, name)}
    sources = [repr(value) if name in POSITIONAL else f"{name}={to_source(value)}"
               for name, value in arguments.items()]
    return f"layers.{spec.type}({', '.join(sources)})"


def default_value(spec: LayerSpec, name: str) -> Any:
    """The default value of an argument; None if it is required."""
    if name == "strides" and spec.type == "MaxPooling2D":
        return spec.args.get("pool_size", 2)
    return DEFAULTS.get(name)


def to_source(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
