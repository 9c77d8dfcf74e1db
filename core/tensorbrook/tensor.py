"""Tensor, Variable, and `bind`, which dispatches every primitive to the current context."""
from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from .base import dtypes, host_array
from .base.dtypes import DType
from .base.errors import DTypeError, FailedPreconditionError, InvalidArgumentError
from .base.task_local import register_stack, reset_stacks
from .ir import PRIMITIVES, Const, Primitive, TensorSpec, Var

# The functions behind Python's operators, filled by ops: PYTHON_OPERATORS["add"](x, y) is x + y.
PYTHON_OPERATORS: dict[str, Callable] = {}


class TensorShape(tuple):
    """A shape: a tuple of ints with the methods of TensorFlow's TensorShape."""

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
    """An interpreter of primitives: the EagerContext, or a Trace."""

    def bind(self, prim: Primitive, args: list[Tensor], attrs: dict[str, Any]) -> Any: ...
    def read(self, variable: Variable) -> Tensor: ...
    def assign(self, variable: Variable, value: Tensor) -> None: ...
    def storage_on(self, tensor: Tensor) -> Any: ...


class Tape(Protocol):
    """A recorder of primitives: a GradientTape."""

    def record(self, prim: Primitive, args: list[Tensor], attrs: dict[str, Any], out) -> None: ...
    def record_function(self, args: list[Tensor], outs: list[Tensor], vjp: Callable) -> None: ...
    def record_variable_read(self, variable: Variable, value: Tensor) -> None: ...


# The bottom entry is the EagerContext; the others are traces, or the EagerContext again.
_context_stack: list[Context] = register_stack([], shared_prefix=1)
_tapes: list[Tape] = register_stack([])


def bind(name: str, *args, **attrs) -> Any:
    """Apply a primitive in the current context, and record it on the active tapes.

    Returns a Tensor, or a tuple of Tensors for a primitive with several results.
    """
    prim = PRIMITIVES[name]
    if prim.kind == "elementwise":
        return bind_tensors(prim, _convert_scalars(prim, args), attrs)
    return bind_tensors(prim, [as_tensor(a) for a in args], attrs)


def bind_tensors(prim: Primitive, args: list[Tensor], attrs: dict[str, Any]) -> Any:
    """`bind` for arguments that are Tensors already."""
    out = _context_stack[-1].bind(prim, args, attrs)
    for tape in _tapes:
        tape.record(prim, args, attrs, out)
    return out


def _convert_scalars(prim: Primitive, args) -> list[Tensor]:
    """The arguments of an elementwise primitive as Tensors; Python scalars take the dtype of the
    other arguments."""
    peers = args[1:] if prim.name == "select" else args
    dtype = next((a.dtype for a in peers if isinstance(a, _TensorLike)), None)
    if dtype is None:
        dtype = next((as_tensor(a).dtype for a in peers if not isinstance(a, (int, float))), None)
    if dtype is None and any(isinstance(a, float) for a in peers):
        dtype = dtypes.float32
    out = []
    for i, a in enumerate(args):
        is_condition = prim.name == "select" and i == 0
        takes_dtype = dtype and not isinstance(a, _TensorLike) and not is_condition
        out.append(_scalar_like(prim.name, a, dtype) if takes_dtype else as_tensor(a))
    return out


def _scalar_like(op: str, value, dtype: DType) -> Tensor:
    if isinstance(value, float) and dtype.kind != "f":
        raise DTypeError(op, f"cannot convert {value!r} to the tensor's dtype {dtype}",
                         "convert the tensor with tf.cast(x, tf.float32)")
    return as_tensor(value, None if host_array.is_array(value) else dtype)


class _TensorLike:
    """The common base of Tensor and Variable: Python's operators and conversions to host values."""

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

    # `==` compares elements, but a tensor is a dict key by identity, like TensorFlow's `ref()`.
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
        """The name of the device that holds the elements; "" for a symbolic tensor.

        An operation on another device transfers the elements there.

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
        """The elements as a NumPy array. This needs NumPy; `tolist` does not."""
        np = importlib.import_module("numpy")
        data = np.frombuffer(self._bytes(), dtype=self.dtype.name).reshape(self.shape)
        return data.copy() if self.shape else data[()]

    def tolist(self) -> Any:
        """The elements as nested lists of Python scalars; one Python scalar for shape ()."""
        return host_array.to_nested_lists(self._bytes(), tuple(self.shape), self.dtype)

    def item(self):
        """The element of a tensor with exactly one element, as a Python scalar."""
        if self.shape.num_elements() != 1:
            raise InvalidArgumentError(
                "item",
                f"a tensor of shape {tuple(self.shape)} does not have exactly one element",
                "reduce it first, for example with tf.reduce_mean",
            )
        return host_array.to_nested_lists(self._bytes(), (1,), self.dtype)[0]

    def __format__(self, style):
        """Format the element of a scalar, or the elements of other tensors without a `style`."""
        if isinstance(self, Tensor) and self.symbolic and not style:
            return str(self)
        return format(self.item(), style) if style or not self.shape \
            else _format_value(self.tolist())

    # copy.deepcopy and pickle store the elements, from whichever device holds them.
    def __reduce__(self):
        return _tensor_from_bytes, (self._bytes(), tuple(self.shape), self.dtype)

    def __float__(self): return float(self.item())
    def __int__(self): return int(self.item())
    def __index__(self): return self.item().__index__()
    def __bool__(self): return bool(self.item())


class Tensor(_TensorLike):
    """An immutable array: concrete, with a storage on a backend or as a constant, or symbolic.

    A symbolic tensor is a value of a trace, which is computed only when the traced program runs.
    """

    __slots__ = ("spec", "storage", "atom", "trace", "__weakref__")

    def __init__(self, spec: TensorSpec, storage=None, atom: Any = None, trace=None):
        self.spec, self.storage, self.atom, self.trace = spec, storage, atom, trace

    @property
    def symbolic(self) -> bool:
        """Whether this is a value of a trace."""
        return isinstance(self.atom, Var)

    def _bytes(self) -> bytes:
        if self.symbolic:
            raise FailedPreconditionError(
                "numpy", f"{self.spec} is a symbolic tensor of tf.function and has no value yet",
                "return it from the function, and read it after the call")
        return self.storage.read() if self.storage is not None else constant_to_bytes(self.atom)

    def __repr__(self):
        if self.symbolic:
            return f"<tf.Tensor: shape={tuple(self.shape)}, dtype={self.dtype}, traced>"
        value = _format_value(self.tolist())
        return f"<tf.Tensor: shape={tuple(self.shape)}, dtype={self.dtype}, value={value}>"

    def __bool__(self):
        if self.symbolic:
            raise FailedPreconditionError(
                "if",
                f"{self.spec} is a symbolic tensor of tf.function, so Python cannot branch on it",
                "use tf.where, or branch on a Python value")
        return bool(self.item())


class Variable(_TensorLike):
    """A mutable tensor, such as a weight of a model.

    >>> w = tf.Variable([1., 2.])
    >>> w.assign_add([1., 1.]).numpy()
    array([2., 3.], dtype=float32)
    """

    __slots__ = ("spec", "storage", "name", "trainable", "__weakref__")

    def __init__(self, initial_value, trainable: bool = True, dtype=None, name: str = "Variable"):
        value = as_tensor(initial_value, None if dtype is None else dtypes.as_dtype(dtype))
        if value.symbolic:
            raise FailedPreconditionError("Variable", "the initial value is a symbolic tensor",
                                          "create Variables outside of tf.function")
        self.spec, self.name, self.trainable = value.spec, name, trainable
        self.storage = _context_stack[0].storage_on(value)
        self.storage.aliased = True  # `value` has the same storage, so it must not be overwritten

    def value(self) -> Tensor:
        """The current value, as a Tensor that later assignments do not change."""
        out = _context_stack[-1].read(self)
        for tape in _tapes:
            tape.record_variable_read(self, out)
        return out

    read_value = value

    def assign(self, value) -> Variable:
        """Replace the value; shape and dtype must stay the same. Returns the Variable."""
        value = as_tensor(value, None if isinstance(value, _TensorLike) else self.dtype)
        if value.spec != self.spec:
            raise InvalidArgumentError(
                f"assign to {self.name}",
                f"the Variable is {self.spec}, but the new value is {value.spec}",
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
            return self.value()._bytes()     # raises an error, unless the value is a constant
        return self.storage.read()           # without an alias, so the next update can be in place

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
    """Convert to a Tensor; scalars, nested lists and buffers become constants."""
    if isinstance(value, Variable):
        value = value.value()
    if isinstance(value, Tensor):
        if dtype is not None and value.dtype is not dtype:
            raise DTypeError(
                "convert_to_tensor",
                f"the tensor is {value.dtype}, not {dtype}",
                f"convert it with tf.cast(x, tf.{dtype.name})",
            )
        return value
    if isinstance(value, (list, tuple)) and \
            any(issubclass(kind, _TensorLike) for kind in set(map(type, value))):
        return PYTHON_OPERATORS["stack"](value)
    return constant_from_host(host_array.from_python(value, dtype))


def leaked_tracer_error(tensor: Tensor) -> FailedPreconditionError:
    """The error for a symbolic tensor that is used outside of its trace."""
    return FailedPreconditionError(
        "tf.function",
        f"{tensor.spec} is a symbolic tensor of another tf.function and has no value here",
        "return it from that function, and use the result of the call",
    )


def constant_from_host(host: host_array.HostArray) -> Tensor:
    """A constant Tensor with a copy of the host data."""
    spec = TensorSpec(host.shape, host.dtype)
    if host.shape == ():
        return Tensor(spec, atom=Const(spec, host_array.as_scalars(host.data, host.dtype)[0]))
    return Tensor(spec, atom=Const(spec, bytes(host.data)))


def _tracing() -> bool:
    """Whether the current context is a trace, in which a Variable may have a symbolic value."""
    return _context_stack[-1] is not _context_stack[0]


def fetch_all(values: Sequence[Any]) -> list[Any]:
    """Read back tensors and Variables to host memory, with one batched read per backend.

    Returns the values with Tensors in host memory in their place. Other values, and Variables while
    a trace is active, are returned unchanged.
    """
    fetched, on_backend = list(values), {}
    fetchable = Tensor if _tracing() else (Tensor, Variable)
    for i, value in enumerate(values):
        if isinstance(value, fetchable) and value.storage is not None:
            on_backend.setdefault(value.storage.backend, []).append(i)
    for backend, indices in on_backend.items():
        buffers = backend.read_many([values[i].storage for i in indices])
        for i, data in zip(indices, buffers):
            fetched[i] = _tensor_from_bytes(data, tuple(values[i].shape), values[i].dtype)
    return fetched


def _tensor_from_bytes(data: bytes, shape, dtype: DType) -> Tensor:
    return constant_from_host(host_array.HostArray(data, shape, dtype))


def constant_to_bytes(const: Const) -> Any:
    """The elements of a constant in row-major order."""
    if const.is_scalar:
        return host_array.from_python(const.value, const.spec.dtype).data
    return const.value


@contextmanager
def context(inner: Context):
    """Make `inner` the current context within the block."""
    depth = len(_context_stack)
    try:
        _context_stack.append(inner)
        yield inner
    finally:
        del _context_stack[depth:]            # correct even if an interrupt came before `append`


def context_stack() -> list[Context]:
    """The stack of contexts. The last entry is current; the first is the EagerContext."""
    return _context_stack


def active_tapes() -> list[Tape]:
    """The list of recording tapes, outermost first; a tape appends itself to record."""
    return _tapes


def reset_context_stacks() -> None:
    """Leave every trace, tape and device block; an interrupt may have prevented an exit."""
    reset_stacks()


@contextmanager
def tapes_paused():
    """Pause the recording of all active tapes within the block."""
    paused = _tapes[:]
    try:
        _tapes.clear()
        yield
    finally:
        _tapes[:] = paused
