"""Trainable flags: detects that traced steps are stale because `trainable` of a layer changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class TrainableFlags:
    """The `trainable` flags with which steps were traced.

    A trace contains the updates of the weights that were trainable when it was made.
    """

    def __init__(self):
        # By the id of the layer or Variable, part of the value so that the id stays unique.
        self._flags: dict[int, tuple[Any, bool]] = {}

    def record(self, objects: Iterable[Any]) -> None:
        """Record the flags of the layers and Variables that no earlier trace contains."""
        for each in objects:
            self._flags.setdefault(id(each), (each, each.trainable))

    @property
    def are_stale(self) -> bool:
        """Whether a flag has changed since it was recorded."""
        return any(each.trainable != flag for each, flag in self._flags.values())
