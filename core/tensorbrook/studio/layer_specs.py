"""The layers the Studio can build: what each argument may be, and what a list of them comes to."""

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
    """What one argument takes, in words and as a test."""

    takes: str
    fits: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def whole(most: int) -> Argument:
    """A whole number from 1; JSON does not tell 3 from 3.0."""
    return Argument(f"a whole number from 1 to {most:,}",
                    lambda v: is_number(v) and v == int(v) and 1 <= v <= most)


def one_of(*names: str) -> Argument:
    return Argument("one of " + ", ".join(names), lambda v: v in names)


ACTIVATION = one_of("linear", "relu", "tanh", "sigmoid", "softmax")
PADDING = one_of("valid", "same")
RATE = Argument("a number from 0 up to, but not including, 1",
                lambda v: is_number(v) and 0 <= v < 1)
SIZE = whole(1024)

# More units than any memory of a page holds weights for, so that a typing slip is told as one.
UNITS = whole(100_000_000)

TYPES: dict[str, dict[str, Argument]] = {
    "Conv2D": {"filters": UNITS, "kernel_size": SIZE, "strides": SIZE, "padding": PADDING,
               "activation": ACTIVATION},
    "MaxPooling2D": {"pool_size": SIZE, "strides": SIZE, "padding": PADDING},
    "Flatten": {},
    "Dense": {"units": UNITS, "activation": ACTIVATION},
    "Dropout": {"rate": RATE},
}
NEEDED = {"Conv2D": ("filters", "kernel_size"), "Dense": ("units",), "Dropout": ("rate",)}


@dataclass(frozen=True)
class LayerSpec:
    """A layer as the page describes it: Keras's name and arguments, checked."""

    type: str
    args: dict[str, Any]

    def layer(self) -> Any:
        return getattr(layers, self.type)(**self.args)


@dataclass(frozen=True)
class Report:
    """A layer's output shape without the batch, and its size; or why it does not fit."""

    output_shape: tuple[int, ...] | None = None
    parameters: int = 0
    error: str | None = None


def parse(raw: Any) -> LayerSpec:
    """A checked spec of what came as JSON; raises one sentence that says what goes instead."""
    kind, args = raw["type"], raw["args"]
    if kind not in TYPES:
        raise InvalidArgumentError("studio", f"there is no layer {kind!r}",
                                   f"use {', '.join(TYPES)}")
    for name, value in args.items():
        check(kind, name, value)
    for name in NEEDED.get(kind, ()):
        if name not in args:
            raise InvalidArgumentError(kind, f"{name} is missing",
                                       f"it takes {TYPES[kind][name].takes}")
    return LayerSpec(kind, {name: int_if_whole(value) for name, value in args.items()})


def specs_as_entered(raws: Sequence[Any]) -> list[LayerSpec]:
    """The layers as they stand, fitting or not: a program is shown of what is being worked on."""
    return [LayerSpec(raw["type"], raw["args"]) for raw in raws if raw["type"] in TYPES]


def check(kind: str, name: str, value: Any) -> None:
    """That the layer has such an argument, and that it takes such a value."""
    known = TYPES[kind]
    if name not in known:
        close = get_close_matches(name, known, 1)
        way_out = f"did you mean {close[0]}?" if close else f"it takes {', '.join(known) or 'none'}"
        raise InvalidArgumentError(kind, f"there is no argument {name!r}", way_out)
    if not known[name].fits(value):
        raise InvalidArgumentError(kind, f"{name} is {value!r}", f"it takes {known[name].takes}")


def int_if_whole(value: Any) -> Any:
    """3.0 as 3: Keras takes sizes as whole numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() and value >= 1 else value


def report(raws: Sequence[Any]) -> list[Report]:
    """A report for each layer; after the first that does not fit, nothing is known."""
    reports: list[Report] = []
    shape: tuple[int, ...] | None = IMAGE
    for raw in raws:
        reports.append(one_report(raw, shape))
        shape = reports[-1].output_shape
    return reports[:-1] + [check_output_layer(reports[-1])] if reports else []


def one_report(raw: Any, shape: tuple[int, ...] | None) -> Report:
    try:
        spec = parse(raw)
        return Report() if shape is None else report_for(spec, shape)
    except (OpError, ValueError, TypeError) as error:
        return Report(error=str(error))


def report_for(spec: LayerSpec, shape: tuple[int, ...]) -> Report:
    layer = spec.layer()
    try:
        out = tuple(layer.compute_output_shape((None, *shape)))[1:]
    except OpError as error:
        # The row it is shown in says which of them it is; Keras's number would only confuse.
        return Report(error=str(error).replace(f"{spec.type} {layer.name}", spec.type))
    return Report(out, parameters(spec, shape))


def check_output_layer(last: Report) -> Report:
    """The last layer's report, wrong where it does not give one number for each digit."""
    if last.output_shape in (None, (CLASSES,)):
        return last
    flat = "" if last.output_shape and len(last.output_shape) == 1 else "Flatten and "
    return Report(last.output_shape, last.parameters,
                  f"output: the last layer gives {format_shape(last.output_shape)}, not one number for "
                  f"each of {CLASSES} digits; end with {flat}Dense of {CLASSES} units")


def format_shape(shape: Sequence[int] | None) -> str:
    return " × ".join(map(str, shape or ()))


def parameters(spec: LayerSpec, shape: Sequence[int]) -> int:
    """How many weights the layer has on such an input, told without making them."""
    if spec.type == "Dense":
        return (shape[-1] + 1) * spec.args["units"]
    if spec.type == "Conv2D":
        return (spec.args["kernel_size"] ** 2 * shape[-1] + 1) * spec.args["filters"]
    return 0
