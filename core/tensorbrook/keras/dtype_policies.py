"""Dtype policies: the compute dtype and the variable dtype of a layer, such as "mixed_float16".

Where the two dtypes differ, a layer's weights are read as the compute dtype during its call, and
only then (`autocast`). The gradient of that cast returns the gradients in the variable dtype.
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
    """The dtype in which a layer computes, and the dtype of its weights.

    `name` is "float32", "mixed_float16" (computes in float16, weights in float32) or "float16".
    Raises InvalidArgumentError for another name.

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
_autocast_dtypes: list[tf.DType | None] = register_stack([None], shared_prefix=1)


def global_policy() -> DTypePolicy:
    """The policy of layers that are created without a `dtype`."""
    return _global_policy[0]


def set_global_policy(policy: Any) -> None:
    """Set the policy of layers created from now on: `set_global_policy("mixed_float16")`."""
    _global_policy[0] = get(policy)


def get(identifier: Any) -> DTypePolicy:
    """The policy of a name, a dtype or a config; the global policy for None."""
    if identifier is None:
        return global_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        return DTypePolicy.from_config(identifier["config"])
    return DTypePolicy(identifier.name if isinstance(identifier, tf.DType) else identifier)


@contextmanager
def autocast(dtype: tf.DType | None) -> Iterator[None]:
    """Within the block, floating-point weights are read as `dtype`; None reads them uncast."""
    depth = len(_autocast_dtypes)
    try:
        _autocast_dtypes.append(dtype)
        yield
    finally:
        del _autocast_dtypes[depth:]  # correct even if an interrupt came before the append


class AutocastVariable(tf.Variable):
    """A layer's Variable, read as the dtype of `autocast`; assigned floats are cast to its own."""

    __slots__ = ("autocast",)

    def __init__(self, initial_value: Any, trainable: bool = True, dtype: Any = None,
                 name: str = "Variable", autocast: bool = True):
        super().__init__(initial_value, trainable, dtype, name)
        self.autocast = autocast and self.spec.dtype.is_floating

    @property
    def dtype(self) -> tf.DType:
        """The dtype as which the Variable is read at present."""
        dtype = _autocast_dtypes[-1]
        return dtype if self.autocast and dtype is not None else self.spec.dtype

    def value(self) -> tf.Tensor:
        return tf.cast(super().value(), self.dtype)

    read_value = value

    def assign(self, value: Any) -> tf.Variable:
        with autocast(None):
            return super().assign(self._cast_floats(value))

    def assign_add(self, delta: Any) -> tf.Variable:
        with autocast(None):
            return super().assign(self + self._cast_floats(delta))

    def assign_sub(self, delta: Any) -> tf.Variable:
        with autocast(None):
            return super().assign(self - self._cast_floats(delta))

    def _cast_floats(self, value: Any) -> Any:
        """A floating-point tensor cast to the Variable's dtype; any other value unchanged."""
        is_float = isinstance(value, tf.Tensor | tf.Variable) and value.dtype.is_floating
        return tf.cast(value, self.dtype) if is_float and self.dtype.is_floating else value

    def __reduce__(self):
        _, (value, trainable, dtype, name) = super().__reduce__()
        return type(self), (value, trainable, dtype, name, self.autocast)
