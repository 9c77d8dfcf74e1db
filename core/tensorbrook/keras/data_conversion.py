"""Data that comes in, as tensors; and results that go out, as what people work with."""

from __future__ import annotations

import importlib.util
from typing import Any

import tensorbrook as tf

from ..base.errors import InvalidArgumentError
from ..base.tree import tree_map
from ..tensor import as_tensor, fetch_all

# A page may do without NumPy; there results stay Tensors.
HAS_NUMPY = importlib.util.find_spec("numpy") is not None
CONVERTED_FLOATS = ("float16", "float64")


def to_tensor(value: Any, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Numbers, lists, arrays or tensors as a Tensor; floats of another width become `dtype`."""
    if getattr(getattr(value, "dtype", None), "name", None) in CONVERTED_FLOATS \
            and hasattr(value, "astype"):
        value = value.astype("float32")       # on the host, as no backend may know its dtype
    tensor = as_tensor(value)
    return tf.cast(tensor, dtype) if tensor.dtype.is_floating else tensor


def to_float(value: Any, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """The same as floats, whatever kind of numbers it holds."""
    return tf.cast(to_tensor(value, dtype), dtype)


def autocast(values: Any, dtype: tf.DType) -> Any:
    """Nested values with the floating tensors among them as `dtype`."""
    if isinstance(values, dict | list | tuple):
        return tree_map(lambda v: autocast(v, dtype), values) if values else values
    is_tensor = isinstance(values, tf.Tensor | tf.Variable)
    return tf.cast(values, dtype) if is_tensor and values.dtype.is_floating else values


def to_numpy(tensor: tf.Tensor) -> Any:
    """A NumPy array where NumPy is there, else the Tensor itself."""
    return tensor.numpy() if HAS_NUMPY else tensor


def to_results(variables: list[tf.Variable]) -> list[Any]:
    """The values of Variables, read at once."""
    if not HAS_NUMPY:
        return [v.value() for v in variables]
    return [tensor.numpy() for tensor in fetch_all(variables)]


def to_device(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor in the backend's memory, so that no later program has to bring it there."""
    return tf.Variable(tensor, trainable=False).value()


def as_sample_array(op: str, name: str, value: Any) -> tf.Tensor:
    """One array of samples, in the backend's memory."""
    if not hasattr(value, "shape") and hasattr(value, "__next__"):
        raise InvalidArgumentError(op, f"{name} is a {type(value).__name__}",
                                   "give arrays; batches of your own go to train_on_batch")
    tensor = to_tensor(value)
    if not tensor.shape:
        raise InvalidArgumentError(op, f"{name} is one number, {tensor.tolist()!r}",
                                   "its first axis counts the samples")
    return to_device(tensor)


def as_samples(op: str, x: Any, y: Any = None, sample_weight: Any = None) -> tuple[tf.Tensor, ...]:
    """(x,), (x, y) or (x, y, weights) as tensors of one length."""
    if x is None:
        raise InvalidArgumentError(op, "x is None", "give the samples as x and what to learn as y")
    named = {"x": x, "y": y, "sample_weight": sample_weight}
    tensors = {name: as_sample_array(op, name, v) for name, v in named.items() if v is not None}
    lengths = {name: t.shape[0] for name, t in tensors.items()}
    if len(set(lengths.values())) > 1:
        told = " and ".join(f"{name} {n}" for name, n in lengths.items())
        raise InvalidArgumentError(op, f"the numbers of samples differ: {told}",
                                   "give as many of one as of the other")
    if lengths["x"] == 0:
        raise InvalidArgumentError(op, f"x is empty, of shape {tuple(tensors['x'].shape)}",
                                   "give at least one sample")
    return tuple(tensors.values())


def concat_batches(parts: list[tf.Tensor], most: int = 16) -> tf.Tensor:
    """Tensors one after the other along their first axis, a few at a time."""
    while len(parts) > 1:
        groups = [parts[i:i + most] for i in range(0, len(parts), most)]
        parts = [tf.concat(group, axis=0) if len(group) > 1 else group[0] for group in groups]
    return parts[0]
