"""Tensor and Variable, the user's handles, and bind, the one door every operation goes through."""
from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from .base import dtypes, host_array
from .base.task_local import reset_stacks, register_stack
from .base.dtypes import DType
from .base.errors import DTypeError, FailedPreconditionError, InvalidArgumentError
from .ir import PRIMITIVES, Const, Primitive, TensorSpec, Var

# What Python's syntax means, filled by ops: SYNTAX["add"](x, y) is x + y.
PYTHON_OPERATORS: dict[str, Callable] = {}


class TensorShape(tuple):
    """A shape: a tuple of ints that also answers to TensorFlow's names."""

    __slots__ = ()
    rank = property(len)
    __hash__ = tuple.__hash__

    def __eq__(self, other):
        return tuple.__eq__(self, tuple(other) if isinstance(other, list) else other)

    def __ne__(self, other):
        return not self == other

    def as_list(self) -> list[int]:
        return list(self)

    def num_elements(self) -> int:
        count = 1
        for n in self:
            count *= n
        return count


class Context(Protocol):
    """Who carries out what is bound: the eager conductor, or a trace that writes it down."""

    def bind(self, prim: Primitive, args: list[Tensor], attrs: dict[str, Any]) -> Any: ...
    def read(self, variable: Variable) -> Tensor: ...
    def assign(self, variable: Variable, value: Tensor) -> None: ...
    def storage_on(self, tensor: Tensor) -> Any: ...


class Tape(Protocol):
    """Who watches what is bound: a gradient tape."""

    def record(self, prim: Primitive, args: list[Tensor], attrs: dict[str, Any], out) -> None: ...
    def record_function(self, args: list[Tensor], outs: list[Tensor], shares: Callable) -> None: ...
    def record_variable_read(self, variable: Variable, value: Tensor) -> None: ...


_context_stack: list[Context] = register_stack([], shared_prefix=1)      # the bottom one runs, any above it is a trace
_tapes: list[Tape] = register_stack([])


def bind(name: str, *args, **attrs) -> Any:
    """Apply a primitive: hand it to whoever is in charge, and show it to whoever watches. Returns
    a Tensor; a tuple of them for a primitive that has several results."""
    prim = PRIMITIVES[name]
    tensors = _convert_scalars(prim, args) if prim.kind == "elementwise" else [as_tensor(a) for a in args]
    return bind_tensors(prim, tensors, attrs)


def bind_tensors(prim: Primitive, args: list[Tensor], attrs: dict[str, Any]) -> Any:
    """`bind`, where the arguments are tensors already."""
    out = _context_stack[-1].bind(prim, args, attrs)
    for observer in _tapes:
        observer.record(prim, args, attrs, out)
    return out


def _convert_scalars(prim: Primitive, args) -> list[Tensor]:
    """Tensors of a map's arguments, where plain Python numbers take the dtype of their peers."""
    peers = args[1:] if prim.name == "select" else args
    dtype = next((a.dtype for a in peers if isinstance(a, _TensorLike)), None)
    if dtype is None:
        dtype = next((as_tensor(a).dtype for a in peers if not isinstance(a, (int, float))), None)
    if dtype is None and any(isinstance(a, float) for a in peers):
        dtype = dtypes.float32
    out = []
    for i, a in enumerate(args):
        plain = not isinstance(a, _TensorLike) and not (prim.name == "select" and i == 0)
        out.append(_scalar_like(prim.name, a, dtype) if plain and dtype else as_tensor(a))
    return out


def _scalar_like(op: str, value, dtype: DType) -> Tensor:
    if isinstance(value, float) and dtype.kind != "f":
        raise DTypeError(op, f"the number {value!r} cannot join a tensor of {dtype}",
                         "convert the tensor with tf.cast(x, tf.float32)")
    return as_tensor(value, None if host_array.is_array(value) else dtype)


class _TensorLike:
    """What Tensor and Variable share: Python's operators, each of which names an operation."""

    __slots__ = ()
    __array_priority__ = 100
    spec: TensorSpec
    storage: Any

    @property
    def shape(self) -> TensorShape:
        return TensorShape(self.spec.shape)

    @property
    def dtype(self) -> DType:
        return self.spec.dtype

    def __neg__(self): return PYTHON_OPERATORS["negative"](self)
    def __abs__(self): return PYTHON_OPERATORS["abs"](self)
    def __invert__(self): return PYTHON_OPERATORS["invert"](self)
    def __add__(self, other): return PYTHON_OPERATORS["add"](self, other)
    def __radd__(self, other): return PYTHON_OPERATORS["add"](other, self)
    def __sub__(self, other): return PYTHON_OPERATORS["subtract"](self, other)
    def __rsub__(self, other): return PYTHON_OPERATORS["subtract"](other, self)
    def __mul__(self, other): return PYTHON_OPERATORS["multiply"](self, other)
    def __rmul__(self, other): return PYTHON_OPERATORS["multiply"](other, self)
    def __truediv__(self, other): return PYTHON_OPERATORS["divide"](self, other)
    def __rtruediv__(self, other): return PYTHON_OPERATORS["divide"](other, self)
    def __floordiv__(self, other): return PYTHON_OPERATORS["floordiv"](self, other)
    def __rfloordiv__(self, other): return PYTHON_OPERATORS["floordiv"](other, self)
    def __mod__(self, other): return PYTHON_OPERATORS["mod"](self, other)
    def __rmod__(self, other): return PYTHON_OPERATORS["mod"](other, self)
    def __pow__(self, other): return PYTHON_OPERATORS["pow"](self, other)
    def __rpow__(self, other): return PYTHON_OPERATORS["pow"](other, self)
    def __matmul__(self, other): return PYTHON_OPERATORS["matmul"](self, other)
    def __rmatmul__(self, other): return PYTHON_OPERATORS["matmul"](other, self)
    def __and__(self, other): return PYTHON_OPERATORS["and"](self, other)
    def __rand__(self, other): return PYTHON_OPERATORS["and"](other, self)
    def __or__(self, other): return PYTHON_OPERATORS["or"](self, other)
    def __ror__(self, other): return PYTHON_OPERATORS["or"](other, self)
    def __xor__(self, other): return PYTHON_OPERATORS["xor"](self, other)
    def __rxor__(self, other): return PYTHON_OPERATORS["xor"](other, self)
    def __lt__(self, other): return PYTHON_OPERATORS["less"](self, other)
    def __le__(self, other): return PYTHON_OPERATORS["less_equal"](self, other)
    def __gt__(self, other): return PYTHON_OPERATORS["greater"](self, other)
    def __ge__(self, other): return PYTHON_OPERATORS["greater_equal"](self, other)
    def __eq__(self, other): return PYTHON_OPERATORS["equal"](self, other)
    def __ne__(self, other): return PYTHON_OPERATORS["not_equal"](self, other)
    def __getitem__(self, key): return PYTHON_OPERATORS["getitem"](self, key)

    # `==` compares elements, so a handle is a key by its identity, as TensorFlow's `ref()` is.
    def __hash__(self): return id(self)

    def __len__(self):
        if not self.shape:
            raise TypeError("len: a scalar tensor has no length; use x.shape")
        return self.shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def device(self) -> str:
        """Where the elements lie now, in TensorFlow's words; "" while tf.function traces it. What
        computes with them on another device brings them there.

        >>> tf.ones(2).device
        '/job:localhost/replica:0/task:0/device:CPU:0'
        """
        if isinstance(self, Tensor) and self.symbolic:
            return ""
        device = "CPU" if self.storage is None else self.storage.backend.device
        return f"/job:localhost/replica:0/task:0/device:{device}:0"

    @property
    def __array_interface__(self) -> dict:
        order = {"b": "|b1", "u": "|u1"}.get(
            self.dtype.kind, f"<{self.dtype.kind}{self.dtype.size}"
        )
        return {"shape": tuple(self.shape), "typestr": order, "data": self._bytes(), "version": 3}

    def _bytes(self) -> bytes:
        raise NotImplementedError

    def numpy(self):
        """A NumPy array of the elements (needs NumPy; `tolist` does not)."""
        np = importlib.import_module("numpy")
        data = np.frombuffer(self._bytes(), dtype=self.dtype.name).reshape(self.shape)
        return data.copy() if self.shape else data[()]

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers; a plain number for a scalar."""
        return host_array.to_nested_lists(self._bytes(), tuple(self.shape), self.dtype)

    def item(self):
        """The one element as a Python number."""
        if self.shape.num_elements() != 1:
            raise InvalidArgumentError(
                "item",
                f"a tensor of shape {tuple(self.shape)} is not one number",
                "reduce it first, for example with tf.reduce_mean",
            )
        return host_array.to_nested_lists(self._bytes(), (1,), self.dtype)[0]

    # What copy.deepcopy and pickle keep: the elements, wherever they lie.
    def __reduce__(self):
        return _tensor_from_bytes, (self._bytes(), tuple(self.shape), self.dtype)

    def __float__(self): return float(self.item())
    def __int__(self): return int(self.item())
    def __index__(self): return self.item().__index__()
    def __bool__(self): return bool(self.item())


class Tensor(_TensorLike):
    """An array of numbers that never changes: held by a backend, or a value of a trace."""

    __slots__ = ("spec", "storage", "atom", "trace", "__weakref__")

    def __init__(self, spec: TensorSpec, storage=None, atom: Any = None, trace=None):
        self.spec, self.storage, self.atom, self.trace = spec, storage, atom, trace

    @property
    def symbolic(self) -> bool:
        """Whether this is a value of a trace, known only when the traced program runs."""
        return isinstance(self.atom, Var)

    def _bytes(self) -> bytes:
        if self.symbolic:
            raise FailedPreconditionError(
                "numpy", f"{self.spec} is being traced by tf.function and has no value yet",
                "return it from the function and read it there")
        return self.storage.read() if self.storage is not None else constant_to_bytes(self.atom)

    def __repr__(self):
        if self.symbolic:
            return f"<tf.Tensor: shape={tuple(self.shape)}, dtype={self.dtype}, traced>"
        value = _format_value(self.tolist())
        return f"<tf.Tensor: shape={tuple(self.shape)}, dtype={self.dtype}, value={value}>"

    def __format__(self, style):
        return format(self.item() if style and not self.shape else str(self), style)

    def __bool__(self):
        if self.symbolic:
            raise FailedPreconditionError(
                "if", f"{self.spec} is being traced by tf.function, so Python cannot branch on it",
                "use tf.where, or branch on a Python value")
        return bool(self.item())


class Variable(_TensorLike):
    """A tensor that can be assigned to; what a model learns.

    >>> w = tf.Variable([1., 2.])
    >>> w.assign_add([1., 1.]).numpy()
    array([2., 3.], dtype=float32)
    """

    __slots__ = ("spec", "storage", "name", "trainable", "__weakref__")

    def __init__(self, initial_value, trainable: bool = True, dtype=None, name: str = "Variable"):
        value = as_tensor(initial_value, None if dtype is None else dtypes.as_dtype(dtype))
        if value.symbolic:
            raise FailedPreconditionError("Variable", "its initial value is being traced",
                                          "create Variables outside of tf.function")
        self.spec, self.name, self.trainable = value.spec, name, trainable
        self.storage = _context_stack[0].storage_on(value)
        self.storage.aliased = True  # with `value`, so the first in-place update must not use it

    def value(self) -> Tensor:
        """What it holds now, as a Tensor that later assignments leave alone."""
        out = _context_stack[-1].read(self)
        for observer in _tapes:
            observer.record_variable_read(self, out)
        return out

    read_value = value

    def assign(self, value) -> Variable:
        value = as_tensor(value, None if isinstance(value, _TensorLike) else self.dtype)
        if value.spec != self.spec:
            raise InvalidArgumentError(
                f"assign to {self.name}",
                f"it holds {self.spec}, the new value is {value.spec}",
                "shape and dtype must stay the same",
            )
        _context_stack[-1].assign(self, value)
        return self

    def assign_add(self, delta) -> Variable:
        return self.assign(self + delta)

    def assign_sub(self, delta) -> Variable:
        return self.assign(self - delta)

    def _bytes(self) -> bytes:
        if _tracing():
            return self.value()._bytes()         # which says so, unless it was given a constant
        return self.storage.read()           # at once, so that the next update may be in place

    def __reduce__(self):
        value = _tensor_from_bytes(self._bytes(), tuple(self.shape), self.dtype)
        return Variable, (value, self.trainable, None, self.name)

    def __repr__(self):
        return f"<tf.Variable {self.name!r} shape={tuple(self.shape)} dtype={self.dtype}, " \
               f"value={_format_value(self.tolist())}>"


def _format_value(nested) -> str:
    text = repr(nested)
    return text if len(text) <= 400 else f"{text[:380]} ..."


def as_tensor(value, dtype: DType | None = None) -> Tensor:
    """`value` as a Tensor; numbers, lists and buffers become constants."""
    if isinstance(value, Variable):
        value = value.value()
    if isinstance(value, Tensor):
        if dtype is not None and value.dtype is not dtype:
            raise DTypeError(
                "convert_to_tensor",
                f"the tensor holds {value.dtype}, asked for was {dtype}",
                f"convert it with tf.cast(x, tf.{dtype.name})",
            )
        return value
    if isinstance(value, (list, tuple)) and any(isinstance(v, _TensorLike) for v in value):
        return PYTHON_OPERATORS["stack"](value)
    return constant_from_host(host_array.from_python(value, dtype))


def leaked_tracer_error(tensor: Tensor) -> FailedPreconditionError:
    """What to say of a value of a trace that is used elsewhere."""
    return FailedPreconditionError(
        "tf.function",
        f"{tensor.spec} belongs to a tf.function that is traced elsewhere, so it has no value here",
        "return it from that function, and use what the call gives",
    )


def constant_from_host(host: host_array.HostArray) -> Tensor:
    """A Tensor that holds a copy of host data."""
    spec = TensorSpec(host.shape, host.dtype)
    if host.shape == ():
        return Tensor(spec, atom=Const(spec, host_array.as_scalars(host.data, host.dtype)[0]))
    return Tensor(spec, atom=Const(spec, bytes(host.data)))


def _tracing() -> bool:
    """Whether a Variable may hold what no device has yet."""
    return _context_stack[-1] is not _context_stack[0]


def fetch_all(values: Sequence[Any]) -> list[Any]:
    """The same values, tensors and Variables among them with their elements in the host's memory:
    those that lie on one device are read at once. While Variables are traced, they stay."""
    found, lying = list(values), {}
    held = Tensor if _tracing() else (Tensor, Variable)
    for i, value in enumerate(values):
        if isinstance(value, held) and value.storage is not None:
            lying.setdefault(value.storage.backend, []).append(i)
    for backend, places in lying.items():
        data = backend.read_many([values[i].storage for i in places])
        for i, each in zip(places, data):
            found[i] = _tensor_from_bytes(each, tuple(values[i].shape), values[i].dtype)
    return found


def _tensor_from_bytes(data: bytes, shape, dtype: DType) -> Tensor:
    return constant_from_host(host_array.HostArray(data, shape, dtype))


def constant_to_bytes(const: Const) -> Any:
    """A constant's elements in row-major order."""
    return host_array.from_python(const.value, const.spec.dtype).data if const.is_number else const.value


@contextmanager
def context(inner: Context):
    """Let `inner` carry out what is bound within the block."""
    outside = len(_context_stack)
    try:
        _context_stack.append(inner)
        yield inner
    finally:
        del _context_stack[outside:]              # whenever an interrupt came


def context_stack() -> list[Context]:
    """Who carries out what is bound: the last one does; the first one always computes at once."""
    return _context_stack


def active_tapes() -> list[Tape]:
    """Those who watch now, outermost first; append to it to watch, remove to stop."""
    return _tapes


def reset_context_stacks() -> None:
    """Leave every trace, tape and device that is open: an interrupt on the way out of one may keep
    it."""
    reset_stacks()


@contextmanager
def tapes_paused():
    """Let none of those who watch now see what is bound within the block."""
    watching = _tapes[:]
    try:
        _tapes.clear()
        yield
    finally:
        _tapes[:] = watching
