"""Optimizers: `tf.keras.optimizers.Adam`, or by name: `compile("adam")`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from .. import argument_checks
from . import schedules
from .algorithms import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Lion, RMSprop
from .loss_scale import LossScaleOptimizer
from .optimizer import Optimizer

BY_NAME: dict[str, Callable[..., Optimizer]] = {
    "adadelta": Adadelta, "adagrad": Adagrad, "adam": Adam, "adamax": Adamax, "adamw": AdamW,
    "lion": Lion, "rmsprop": RMSprop, "sgd": SGD}


def get(identifier: Any) -> Optimizer:
    """The optimizer of a name or a class with default arguments; an Optimizer is returned.

    Raises InvalidArgumentError for an unknown name.
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        return cast("Callable[[], Optimizer]", identifier)()
    if not isinstance(identifier, str) or identifier.lower() not in BY_NAME:
        raise argument_checks.unknown_name_error("compile", "optimizer", identifier, BY_NAME)
    return BY_NAME[identifier.lower()]()


__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion",
           "LossScaleOptimizer", "Optimizer", "RMSprop", "get", "schedules"]
