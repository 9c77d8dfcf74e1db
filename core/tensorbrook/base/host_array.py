"""Host arrays: conversion between Python values or buffers and bytes in row-major order.

The elements are converted by functions of C, without a call of a Python function for each.
"""
import struct
from array import array
from collections.abc import Sequence
from math import copysign, inf, prod
from typing import Any, NamedTuple

from . import dtypes
from .dtypes import DType
from .errors import DTypeError, InvalidArgumentError
from .shapes import Shape

# From the largest float16 plus half a unit in the last place, values round to infinity (IEEE 754).
FLOAT16_OVERFLOW = 65520
SCALAR_TYPES = frozenset({bool, int, float})


class HostArray(NamedTuple):
    """Elements in row-major order and native byte order."""

    data: bytes | bytearray | memoryview
    shape: Shape
    dtype: DType


def is_array(value) -> bool:
    """Whether `value` is an array of another library."""
    # The type is inspected because reading the attribute of an instance may copy the elements.
    return hasattr(type(value), "__array_interface__")


def from_python(value, dtype: DType | None = None) -> HostArray:
    """Convert a scalar, nested lists or a buffer. `dtype=None` infers the dtype from the values."""
    if isinstance(value, (bool, int, float)):
        return _from_list([value], (), dtype)
    if isinstance(value, (list, tuple)):
        flat: list = []
        shape = _flatten(value, flat)
        return _from_list(flat, shape, dtype)
    try:
        view = memoryview(value)
    except TypeError:
        raise DTypeError("constant", f"cannot convert {type(value).__name__} to a tensor",
                         "pass numbers, nested lists of numbers, or an array") from None
    return _from_buffer(value, view, dtype)


def _from_list(flat: list, shape: Shape, dtype: DType | None) -> HostArray:
    if dtype is None:
        # Looking at each element takes several times as long as the conversion itself.
        samples = _samples_by_type(flat).values()
        kinds = {dtypes.infer_dtype(v) for v in samples} or {dtypes.float32}
        dtype = next(d for d in (dtypes.float32, dtypes.int32, dtypes.bool_) if d in kinds)
    return HostArray(_pack(flat, dtype), shape, dtype)


def _samples_by_type(flat: Sequence) -> dict[type, Any]:
    """An element of each type that the elements have."""
    return dict(zip(map(type, flat), flat))


def _pack(flat: Sequence, dtype: DType) -> bytes:
    """The bytes of scalars, which are converted by C functions alone."""
    if dtype.is_bool:
        if not all(issubclass(kind, (int, float)) for kind in _samples_by_type(flat)):
            raise _not_a_number_error(flat)
        return bytes(map(bool, flat))
    if dtype.is_integer and any(issubclass(kind, float) for kind in _samples_by_type(flat)):
        bad = next(v for v in flat if isinstance(v, float))
        raise DTypeError("constant", f"{bad!r} is not an integer, but dtype is {dtype}",
                         "use tf.cast to round, or a float dtype")
    try:
        if dtype is dtypes.float16:
            return _pack_float16(flat)
        return array(dtype.format, flat).tobytes()
    except OverflowError:
        bad = next(v for v in flat if not dtype.min <= v <= dtype.max)
        raise InvalidArgumentError("constant", f"{bad} is out of range for {dtype}",
                                   f"the range is {dtype.min} to {dtype.max}") from None
    except TypeError:
        raise _not_a_number_error(flat) from None


def _pack_float16(flat: Sequence) -> bytes:
    pack = struct.Struct(f"{len(flat)}e").pack
    try:
        return pack(*flat)
    except (OverflowError, struct.error):
        return pack(*map(_clamp_float16, flat))


def _clamp_float16(x: float) -> float:
    """Overflow to infinity, as float32 does; `struct.pack` raises OverflowError instead."""
    return copysign(inf, x) if abs(x) >= FLOAT16_OVERFLOW else x


def _not_a_number_error(flat: Sequence) -> DTypeError:
    bad = next(v for v in flat if not isinstance(v, (bool, int, float)))
    return DTypeError("constant", f"{type(bad).__name__} {bad!r} is not a number",
                      "pass numbers only")


def _flatten(value, flat: list) -> Shape:
    """Append the leaves of nested lists to `flat`; returns the shape."""
    if hasattr(value, "tolist") and not isinstance(value, (list, tuple)):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        flat.append(value)
        return ()
    if SCALAR_TYPES.issuperset(map(type, value)):
        flat.extend(value)
        return (len(value),)
    shapes = [_flatten(v, flat) for v in value]
    if any(s != shapes[0] for s in shapes):
        other = next(s for s in shapes if s != shapes[0])
        raise InvalidArgumentError("constant", f"rows differ in shape: {shapes[0]} and {other}",
                                   "give every row the same number of elements")
    return (len(value), *shapes[0])


def _from_buffer(value, view: memoryview, dtype: DType | None) -> HostArray:
    buffer_dtype = dtypes.from_buffer_format(view.format)
    if buffer_dtype is None and view.format.lstrip("@=<") not in "lqLQIhHb":
        raise DTypeError("constant", f"elements of buffer format {view.format!r} are not supported",
                         "convert the array to float32, int32, uint8 or bool first")
    if buffer_dtype is not None and (dtype is None or dtype is buffer_dtype):
        can_cast = view.c_contiguous and view.nbytes > 0
        data = view.cast("B") if can_cast else view.tobytes()
        return HostArray(data, tuple(view.shape), buffer_dtype)
    dtype = dtype or buffer_dtype or dtypes.int32
    data = _convert_array(value, dtype) if view.nbytes else b""
    return HostArray(_convert_elements(view, dtype) if data is None else data, tuple(view.shape),
                     dtype)


def _convert_array(value, dtype: DType) -> bytes | None:
    """Convert an array of NumPy with its own functions, or return None if an element may be out of
    range or NaN."""
    if not is_array(value) or not hasattr(value, "astype"):
        return None
    is_in_range = dtype.is_bool or \
        dtype.min <= value.min().item() and value.max().item() <= dtype.max
    return value.astype(dtype.name).tobytes() if is_in_range else None


def _convert_elements(view: memoryview, dtype: DType) -> bytes:
    """Convert each element to `dtype`; an integer that is out of range raises an error."""
    code: Any = view.format.lstrip("@=<")   # Any: `memoryview.cast` is typed with literals
    data = view.tobytes()
    flat = _unpack_float16(data) if code == "e" else memoryview(data).cast(code)
    return _pack(list(map(int, flat)) if dtype.is_integer and code in "efd" else flat, dtype)


def _unpack_float16(data) -> list[float]:
    """Convert float16 elements to Python floats."""
    # memoryview supports format "e" only since Python 3.14; struct supports it in every version.
    return list(struct.unpack(f"{len(data) // 2}e", data))


def as_scalars(data, dtype: DType):
    """The elements as a flat sequence of Python scalars."""
    view = memoryview(data).cast("B")
    return _unpack_float16(view) if dtype is dtypes.float16 else view.cast(dtype.format)


def to_nested_lists(data, shape: Shape, dtype: DType) -> Any:
    """The elements as nested lists of Python scalars; one Python scalar for shape ()."""
    flat = as_scalars(data, dtype)
    return _nest(flat, shape, 0) if shape else flat[0]


def _nest(flat, shape: Shape, begin: int) -> list:
    if len(shape) == 1:
        return list(flat[begin:begin + shape[0]])
    step = prod(shape[1:])
    return [_nest(flat, shape[1:], begin + i * step) for i in range(shape[0])]
