"""Data of the host language, as bytes: numbers, nested lists, and anything with a buffer."""
import struct
from array import array
from math import copysign, inf, prod
from typing import Any, NamedTuple

from . import dtypes
from .dtypes import DType
from .errors import DTypeError, InvalidArgumentError
from .shapes import Shape


# From half a unit beyond the largest float16 on, numbers round to infinity (IEEE 754).
FLOAT16_OVERFLOW = 65520


class HostArray(NamedTuple):
    """Elements in row-major order, in the machine's own byte order."""

    data: bytes | bytearray | memoryview
    shape: Shape
    dtype: DType


def is_array(value) -> bool:
    """Whether `value` is an array of another library: asked of its type, as looking may copy it."""
    return hasattr(type(value), "__array_interface__")


def from_python(value, dtype: DType | None = None) -> HostArray:
    """The elements of a number, nested lists or a buffer, as `dtype` (by default their own)."""
    if isinstance(value, (bool, int, float)):
        return _from_list([value], (), dtype)
    if isinstance(value, (list, tuple)):
        flat: list = []
        shape = _flatten(value, flat)
        return _from_list(flat, shape, dtype)
    try:
        view = memoryview(value)
    except TypeError:
        raise DTypeError("constant", f"a {type(value).__name__} cannot become a tensor",
                         "pass numbers, nested lists of numbers, or an array") from None
    return _from_buffer(view, dtype)


def _from_list(flat: list, shape: Shape, dtype: DType | None) -> HostArray:
    if dtype is None:
        kinds = {dtypes.infer_dtype(v) for v in flat} or {dtypes.float32}
        dtype = next(d for d in (dtypes.float32, dtypes.int32, dtypes.bool_) if d in kinds)
    return HostArray(_pack(flat, dtype), shape, dtype)


def _pack(flat: list, dtype: DType) -> bytes:
    if dtype.is_bool:
        if any(not isinstance(v, (bool, int, float)) for v in flat):
            raise _not_a_number_error(flat)
        return bytes(map(bool, flat))
    if dtype.is_integer and any(isinstance(v, float) for v in flat):
        bad = next(v for v in flat if isinstance(v, float))
        raise DTypeError("constant", f"{bad!r} is not a whole number, but dtype is {dtype}",
                         "use tf.cast to round, or a float dtype")
    try:
        if dtype is dtypes.float16:
            return struct.pack(f"{len(flat)}e", *map(_clamp_float16, flat))
        return array(dtype.format, flat).tobytes()
    except OverflowError:
        bad = next(v for v in flat if not dtype.min <= v <= dtype.max)
        raise InvalidArgumentError("constant", f"{bad} is out of range for {dtype}",
                                   f"it holds {dtype.min} to {dtype.max}") from None
    except TypeError:
        raise _not_a_number_error(flat) from None


def _clamp_float16(number: float) -> float:
    """Beyond the range of float16, an infinity, as with the other floats; struct would refuse."""
    return copysign(inf, number) if abs(number) >= FLOAT16_OVERFLOW else number


def _not_a_number_error(flat: list) -> DTypeError:
    bad = next(v for v in flat if not isinstance(v, (bool, int, float)))
    return DTypeError("constant", f"{type(bad).__name__} {bad!r} is not a number",
                      "pass numbers only")


def _flatten(value, flat: list) -> Shape:
    """Append the leaves of nested lists to `flat`; returns their shape."""
    if hasattr(value, "tolist") and not isinstance(value, (list, tuple)):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        flat.append(value)
        return ()
    shapes = [_flatten(v, flat) for v in value]
    if any(s != shapes[0] for s in shapes):
        odd = next(s for s in shapes if s != shapes[0])
        raise InvalidArgumentError("constant", f"rows differ in shape: {shapes[0]} and {odd}",
                                   "give every row the same number of elements")
    return (len(value), *(shapes[0] if shapes else ()))


def _from_buffer(view: memoryview, dtype: DType | None) -> HostArray:
    own = dtypes.from_buffer_format(view.format)
    if own is None and view.format.lstrip("@=<") not in "lqLQIhHb":
        raise DTypeError("constant", f"elements of buffer format {view.format!r} are not supported",
                         "convert the array to float32, int32, uint8 or bool first")
    if own is not None and (dtype is None or dtype is own):
        plain = view.c_contiguous and view.nbytes > 0
        return HostArray(view.cast("B") if plain else view.tobytes(), tuple(view.shape), own)
    return _convert_elements(view, dtype or own or dtypes.int32)


def _convert_elements(view: memoryview, dtype: DType) -> HostArray:
    """Element by element into another dtype; 64-bit whole numbers become int32 if they fit."""
    flat: list = []
    _flatten(_unpack_float16(view.tobytes()) if view.format.lstrip("@=<") == "e" else view.tolist(), flat)
    if dtype.is_integer and any(isinstance(v, float) for v in flat):
        flat = [int(v) for v in flat]
    return HostArray(_pack(flat, dtype), tuple(view.shape), dtype)


def _unpack_float16(data) -> list[float]:
    """float16 as Python numbers: a memoryview knows none before Python 3.14, the struct module
    does."""
    return list(struct.unpack(f"{len(data) // 2}e", data))


def as_scalars(data, dtype: DType):
    """The elements as a sequence of Python numbers."""
    view = memoryview(data).cast("B")
    return _unpack_float16(view) if dtype is dtypes.float16 else view.cast(dtype.format)


def to_nested_lists(data, shape: Shape, dtype: DType) -> Any:
    """The elements as nested lists of Python numbers; a plain number for a scalar."""
    flat = as_scalars(data, dtype)
    return _nest(flat, shape, 0) if shape else flat[0]


def _nest(flat, shape: Shape, begin: int) -> list:
    if len(shape) == 1:
        return list(flat[begin:begin + shape[0]])
    step = prod(shape[1:])
    return [_nest(flat, shape[1:], begin + i * step) for i in range(shape[0])]
