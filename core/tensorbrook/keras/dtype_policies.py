"""What layers compute in and what their weights are: `"mixed_float16"` and its like.

Where the two differ, a layer's weights are read as what it computes in while it is called, and only
then (`autocast`); the cast's gradient brings their gradients back as what they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorbrook as tf

from ..base.task_local import register_stack
from . import argument_checks

# name: (compute_dtype, variable_dtype)
DTYPES = {"float32": ("float32", "float32"), "mixed_float16": ("float16", "float32"),
          "float16": ("float16", "float16")}


class DTypePolicy:
    """The dtype that a layer computes in, and that of its weights.

    >>> policy = tf.keras.mixed_precision.Policy("mixed_float16")
    >>> policy.compute_dtype, policy.variable_dtype
    ('float16', 'float32')
    """

    def __init__(self, name: str = "float32"):
        if name not in DTYPES:
            raise argument_checks.unknown_name_error("DTypePolicy", "policy", name, DTYPES)
        self.name = name
        self.compute_dtype, self.variable_dtype = DTYPES[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self):
        return f'<DTypePolicy "{self.name}">'

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DTypePolicy:
        return cls(**config)


_global_policy = [DTypePolicy()]
_autocast_dtype: list[tf.DType | None] = register_stack([None], shared_prefix=1)      # the innermost call's is last


def global_policy() -> DTypePolicy:
    """The policy of layers that are given none."""
    return _global_policy[0]


def set_global_policy(policy: Any) -> None:
    """Let layers that are made from now on have a policy: `set_global_policy("mixed_float16")`."""
    _global_policy[0] = get(policy)


def get(identifier: Any) -> DTypePolicy:
    """The policy of that name, dtype or config; the global one for None."""
    if identifier is None:
        return global_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        return DTypePolicy.from_config(identifier["config"])
    return DTypePolicy(identifier.name if isinstance(identifier, tf.DType) else identifier)


@contextmanager
def autocast(dtype: tf.DType | None) -> Iterator[None]:
    """Within the block floating weights are read as that dtype; with None as what they are."""
    outside = len(_autocast_dtype)
    try:
        _autocast_dtype.append(dtype)
        yield
    finally:
        del _autocast_dtype[outside:]               # whenever an interrupt came


class AutocastVariable(tf.Variable):
    """A Variable of a layer. Assignments to it take floats of any width."""

    __slots__ = ("autocast",)

    def __init__(self, initial_value: Any, trainable: bool = True, dtype: Any = None,
                 name: str = "Variable", casts: bool = True):
        super().__init__(initial_value, trainable, dtype, name)
        self.autocast = casts and self.spec.dtype.is_floating

    @property
    def dtype(self) -> tf.DType:
        """What it is read as."""
        return _autocast_dtype[-1] if self.autocast and _autocast_dtype[-1] is not None else self.spec.dtype

    def value(self) -> tf.Tensor:
        return tf.cast(super().value(), self.dtype)

    read_value = value

    def assign(self, value: Any) -> tf.Variable:
        with autocast(None):
            return super().assign(self._fitting(value))

    def assign_add(self, delta: Any) -> tf.Variable:
        with autocast(None):
            return super().assign(self + self._fitting(delta))

    def assign_sub(self, delta: Any) -> tf.Variable:
        with autocast(None):
            return super().assign(self - self._fitting(delta))

    def _fitting(self, value: Any) -> Any:
        """A float of another width as what it is kept as; all else as it came."""
        floats = isinstance(value, tf.Tensor | tf.Variable) and value.dtype.is_floating
        return tf.cast(value, self.dtype) if floats and self.dtype.is_floating else value

    def __reduce__(self):
        kind, (value, trainable, dtype, name) = super().__reduce__()
        return type(self), (value, trainable, dtype, name, self.autocast)
