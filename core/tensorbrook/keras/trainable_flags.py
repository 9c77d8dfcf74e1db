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

    def is_stale(self, objects: Iterable[Any]) -> bool:
        """Whether a recorded flag has changed, or its object is not among `objects` anymore."""
        current = {id(each): each.trainable for each in objects}
        return any(current.get(key) != flag for key, (_, flag) in self._flags.items())
