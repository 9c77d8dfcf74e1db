"""Data conversion: user data to tensors on the device, and results to NumPy arrays."""

from __future__ import annotations

import importlib.util
from typing import Any

import tensorbrook as tf

from ..base import dtypes
from ..base.errors import InvalidArgumentError
from ..base.tree import tree_map
from ..tensor import as_tensor, fetch_all

# Without NumPy, as in a page that does not load it, results stay Tensors.
HAS_NUMPY = importlib.util.find_spec("numpy") is not None
CONVERTED_FLOATS = ("float16", "float64")


def to_tensor(value: Any, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Scalars, nested lists, arrays or tensors as a Tensor; floats are cast to `dtype`."""
    # Floats are converted on the host, because the backend may lack their dtype.
    tensor = as_tensor(value, tf.float32 if _is_converted_buffer(value) else None)
    return tf.cast(tensor, dtype) if tensor.dtype.is_floating else tensor


def _is_converted_buffer(value: Any) -> bool:
    """Whether `value` is an array or another buffer of floats that are converted to float32."""
    if isinstance(value, tf.Tensor | tf.Variable):
        return False
    try:
        dtype = dtypes.from_buffer_format(memoryview(value).format)
    except TypeError:                # no buffer: scalars and lists
        return False
    return dtype is not None and dtype.name in CONVERTED_FLOATS


def to_float(value: Any, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """`to_tensor`, with integers and booleans cast to `dtype` too."""
    return tf.cast(to_tensor(value, dtype), dtype)


def autocast(values: Any, dtype: tf.DType) -> Any:
    """A nested structure with its floating-point tensors cast to `dtype`."""
    if isinstance(values, dict | list | tuple):
        return tree_map(lambda v: autocast(v, dtype), values) if values else values
    is_tensor = isinstance(values, tf.Tensor | tf.Variable)
    return tf.cast(values, dtype) if is_tensor and values.dtype.is_floating else values


def to_numpy(tensor: tf.Tensor) -> Any:
    """A NumPy array if NumPy is installed, else the Tensor."""
    return tensor.numpy() if HAS_NUMPY else tensor


def to_results(variables: list[tf.Variable]) -> list[Any]:
    """The values of several Variables as by `to_numpy`, in one readback."""
    if not HAS_NUMPY:
        return [v.value() for v in variables]
    return [tensor.numpy() for tensor in fetch_all(variables)]


def to_device(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor in the backend's memory, so that no later program has to upload it."""
    return tf.Variable(tensor, trainable=False).value()


def as_sample_array(op: str, name: str, value: Any) -> tf.Tensor:
    """An array of samples as a Tensor in the backend's memory; the first axis is the batch."""
    if not hasattr(value, "shape") and hasattr(value, "__next__"):
        raise InvalidArgumentError(op, f"{name} is a {type(value).__name__}",
                                   "pass arrays, or call train_on_batch for each batch")
    tensor = to_tensor(value)
    if not tensor.shape:
        raise InvalidArgumentError(op, f"{name} is a scalar, {tensor.tolist()!r}",
                                   "its first axis must be the batch of samples")
    return to_device(tensor)


def as_samples(op: str, x: Any, y: Any = None, sample_weight: Any = None) -> tuple[tf.Tensor, ...]:
    """(x,), (x, y) or (x, y, sample_weight) as tensors with the same number of samples."""
    if x is None:
        raise InvalidArgumentError(op, "x is None", "pass the samples as x and the targets as y")
    named = {"x": x, "y": y, "sample_weight": sample_weight}
    tensors = {name: as_sample_array(op, name, v) for name, v in named.items() if v is not None}
    lengths = {name: t.shape[0] for name, t in tensors.items()}
    if len(set(lengths.values())) > 1:
        counts = " and ".join(f"{name} has {n}" for name, n in lengths.items())
        raise InvalidArgumentError(op, f"the numbers of samples differ: {counts}",
                                   "pass the same number of samples in each")
    if lengths["x"] == 0:
        raise InvalidArgumentError(op, f"x is empty, with shape {tuple(tensors['x'].shape)}",
                                   "pass at least one sample")
    return tuple(tensors.values())


def concat_batches(batches: list[tf.Tensor], max_operands: int = 16) -> tf.Tensor:
    """Concatenate tensors along their first axis, at most `max_operands` in one operation."""
    while len(batches) > 1:
        groups = [batches[i:i + max_operands] for i in range(0, len(batches), max_operands)]
        batches = [tf.concat(group, axis=0) if len(group) > 1 else group[0] for group in groups]
    return batches[0]
