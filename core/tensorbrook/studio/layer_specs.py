"""Layer specs: the Studio's layers as data, with validation and shape inference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..base.errors import InvalidArgumentError, OpError
from ..keras import layers

IMAGE = (8, 8, 1)
CLASSES = 10


@dataclass(frozen=True)
class Argument:
    """The valid values of an argument: a description and a predicate."""

    description: str
    is_valid: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def whole_number(maximum: int) -> Argument:
    """An integer from 1 to `maximum`, also as a float: JSON does not distinguish 3 and 3.0."""
    return Argument(f"a whole number from 1 to {maximum:,}",
                    lambda v: is_number(v) and v == int(v) and 1 <= v <= maximum)


def one_of(*names: str) -> Argument:
    return Argument("one of " + ", ".join(names), lambda v: v in names)


ACTIVATION = one_of("linear", "relu", "tanh", "sigmoid", "softmax")
PADDING = one_of("valid", "same")
RATE = Argument("a number from 0 up to, but not including, 1",
                lambda v: is_number(v) and 0 <= v < 1)
SIZE = whole_number(1024)

# The weights of this many units exceed the memory of a page, so a larger value is a typing error.
UNITS = whole_number(100_000_000)

TYPES: dict[str, dict[str, Argument]] = {
    "Conv2D": {"filters": UNITS, "kernel_size": SIZE, "strides": SIZE, "padding": PADDING,
               "activation": ACTIVATION},
    "MaxPooling2D": {"pool_size": SIZE, "strides": SIZE, "padding": PADDING},
    "Flatten": {},
    "Dense": {"units": UNITS, "activation": ACTIVATION},
    "Dropout": {"rate": RATE},
}
REQUIRED = {"Conv2D": ("filters", "kernel_size"), "Dense": ("units",), "Dropout": ("rate",)}


@dataclass(frozen=True)
class LayerSpec:
    """A valid layer: its Keras class name and arguments."""

    type: str
    args: dict[str, Any]

    def layer(self) -> Any:
        """Create the Keras layer."""
        return getattr(layers, self.type)(**self.args)


@dataclass(frozen=True)
class Report:
    """A layer's output shape without the batch and its number of parameters, or an error."""

    output_shape: tuple[int, ...] | None = None
    parameters: int = 0
    error: str | None = None


def parse(raw: Any) -> LayerSpec:
    """The LayerSpec of a JSON object; InvalidArgumentError if it is not valid."""
    kind, args = raw["type"], raw["args"]
    if kind not in TYPES:
        raise InvalidArgumentError("studio", f"unknown layer {kind!r}",
                                   f"use {', '.join(TYPES)}")
    for name, value in args.items():
        check(kind, name, value)
    for name in REQUIRED.get(kind, ()):
        if name not in args:
            raise InvalidArgumentError(kind, f"{name} is missing",
                                       f"it must be {TYPES[kind][name].description}")
    return LayerSpec(kind, {name: int_if_whole(value) for name, value in args.items()})


def specs_as_entered(raws: Sequence[Any]) -> list[LayerSpec]:
    """The layers of known type without validation, for the source code shown during editing."""
    return [LayerSpec(raw["type"], raw["args"]) for raw in raws if raw["type"] in TYPES]


def check(kind: str, name: str, value: Any) -> None:
    """Raise InvalidArgumentError unless the layer has the argument and the value is valid."""
    known = TYPES[kind]
    if name not in known:
        close = get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}?" if close else \
            f"the arguments are {', '.join(known)}" if known else "the layer has no arguments"
        raise InvalidArgumentError(kind, f"unknown argument {name!r}", hint)
    if not known[name].is_valid(value):
        raise InvalidArgumentError(kind, f"{name} is {value!r}",
                                   f"it must be {known[name].description}")


def int_if_whole(value: Any) -> Any:
    """A float of integral value, such as 3.0, as an int, because Keras requires int sizes."""
    return int(value) if isinstance(value, float) and value.is_integer() and value >= 1 else value


def report_layers(raws: Sequence[Any]) -> list[Report]:
    """A Report for each layer; the shapes after a layer with an error are unknown."""
    reports: list[Report] = []
    shape: tuple[int, ...] | None = IMAGE
    for raw in raws:
        reports.append(report_layer(raw, shape))
        shape = reports[-1].output_shape
    return reports[:-1] + [check_output_layer(reports[-1])] if reports else []


def report_layer(raw: Any, shape: tuple[int, ...] | None) -> Report:
    try:
        spec = parse(raw)
        return Report() if shape is None else infer_shape(spec, shape)
    except (OpError, ValueError, TypeError) as error:
        return Report(error=str(error))


def infer_shape(spec: LayerSpec, shape: tuple[int, ...]) -> Report:
    """The Report of a valid layer for an input shape without the batch."""
    layer = spec.layer()
    try:
        out = tuple(layer.compute_output_shape((None, *shape)))[1:]
    except OpError as error:
        # The page shows the error at its layer, so the automatic name (`dense_3`) is omitted.
        return Report(error=str(error).replace(f"{spec.type} {layer.name}", spec.type))
    return Report(out, count_parameters(spec, shape))


def check_output_layer(last: Report) -> Report:
    """The last layer's report, with an error unless it has one output for each digit."""
    if last.output_shape in (None, (CLASSES,)):
        return last
    flatten = "" if last.output_shape and len(last.output_shape) == 1 else "Flatten and "
    return Report(last.output_shape, last.parameters,
                  f"output: the last layer has {format_shape(last.output_shape)} outputs, not one "
                  f"for each of {CLASSES} digits; end with {flatten}Dense of {CLASSES} units")


def format_shape(shape: Sequence[int] | None) -> str:
    return " × ".join(map(str, shape or ()))


def count_parameters(spec: LayerSpec, shape: Sequence[int]) -> int:
    """The number of elements of a layer's weights, computed without creating them."""
    if spec.type == "Dense":
        return (shape[-1] + 1) * spec.args["units"]
    if spec.type == "Conv2D":
        return (spec.args["kernel_size"] ** 2 * shape[-1] + 1) * spec.args["filters"]
    return 0
