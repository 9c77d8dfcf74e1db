"""Data types (dtypes), and the inference of a dtype from Python values."""
from typing import Any

from .errors import DTypeError


class DType:
    """A data type, such as `tf.float32`. One instance per dtype; `==` also accepts a name."""

    __slots__ = ("name", "size", "format", "kind", "min", "max")

    def __init__(self, name: str, size: int, format: str, kind: str, min=None, max=None):
        self.name, self.size, self.kind = name, size, kind
        self.format: Any = format           # Any: `memoryview.cast` is typed with literals
        self.min, self.max = min, max

    is_floating = property(lambda self: self.kind == "f")
    is_integer = property(lambda self: self.kind in "iu")
    is_bool = property(lambda self: self.kind == "b")
    as_numpy_dtype = property(lambda self: self.name)

    def __repr__(self):
        return f"tf.{self.name}"

    def __str__(self):
        return self.name

    def __eq__(self, other):
        return self is (other if isinstance(other, DType) else _BY_NAME.get(_name_of(other)))

    def __hash__(self):
        return hash(self.name)

    def __reduce__(self):
        return as_dtype, (self.name,)


# `format` is the type code of the buffer protocol (PEP 3118), and of the struct and array modules.
bool_ = DType("bool", 1, "?", "b", False, True)
uint8 = DType("uint8", 1, "B", "u", 0, 255)
int32 = DType("int32", 4, "i", "i", -2**31, 2**31 - 1)
# A storage type that halves memory and memory traffic. Each operation computes in float32 and
# rounds its result once; see ir/interpret.py and compiler/float16_lowering.py.
float16 = DType("float16", 2, "e", "f", -65504.0, 65504.0)
float32 = DType("float32", 4, "f", "f", -3.4028234663852886e38, 3.4028234663852886e38)
float64 = DType("float64", 8, "d", "f", -1.7976931348623157e308, 1.7976931348623157e308)

ALL = (bool_, uint8, int32, float16, float32, float64)
_BY_NAME = {d.name: d for d in ALL} | {"float": float32, "int": int32, "bool_": bool_,
                                       "half": float16}
_BY_FORMAT = {d.format: d for d in ALL} | {"l": None, "q": None}


def _name_of(x) -> str | None:
    """The name of `x`, which is a string, a Python or NumPy type, or a NumPy dtype; else None."""
    if isinstance(x, str):
        return x
    name = getattr(x, "name", None) or getattr(x, "__name__", None)
    return name if isinstance(name, str) else None


def as_dtype(x) -> DType:
    """Convert to a DType: `as_dtype("float32")`, `as_dtype(np.float32)`, `as_dtype(float)`."""
    dtype = x if isinstance(x, DType) else _BY_NAME.get(_name_of(x) or "")
    if dtype is None:
        supported = ", ".join(d.name for d in ALL)
        raise DTypeError("dtype", f"{x!r} is not a supported dtype", f"use one of {supported}")
    return dtype


def from_buffer_format(code: str) -> DType | None:
    """The DType of a buffer's format code, or None if there is no such dtype."""
    return _BY_FORMAT.get(code.lstrip("@=<"))


def infer_dtype(value) -> DType:
    """The default dtype of a Python scalar."""
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        return int32
    if isinstance(value, float):
        return float32
    raise DTypeError("constant", f"{type(value).__name__} {value!r} is not a number",
                     "pass numbers, nested lists of numbers, or an array")


def require_same_dtype(op: str, *dtypes: DType) -> DType:
    """The common dtype of all arguments. As in TensorFlow, there is no implicit promotion."""
    first = dtypes[0]
    for d in dtypes[1:]:
        if d is not first:
            raise DTypeError(op, f"dtypes differ: {first.name} and {d.name}",
                             f"convert one with tf.cast(x, tf.{first.name})")
    return first
