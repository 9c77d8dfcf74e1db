"""The exceptions of `tf.errors`; each message has the form `op: problem; hint`."""


class OpError(Exception):
    """An operation failed; base class of the exceptions below."""

    def __init__(self, op: str, problem: str = "", hint: str = ""):
        self.op, self.problem, self.hint = op, problem, hint
        parts = [f"{op}: {problem}" if problem else op, hint]
        self.message = "; ".join(part for part in parts if part)
        super().__init__(self.message)


class InvalidArgumentError(OpError, ValueError):
    """A shape, an axis or a value is not valid for the operation."""


class DTypeError(InvalidArgumentError, TypeError):
    """The operation does not support a dtype, or the dtypes of its arguments differ."""


class IndexOutOfRangeError(InvalidArgumentError, IndexError):
    """An index is not in the range of its axis."""


class FailedPreconditionError(OpError, RuntimeError):
    """The object is not in the required state, such as a model that is not built yet."""


class ResourceExhaustedError(OpError, MemoryError):
    """An allocation exceeds the memory of the machine, the page or the device."""


class UnavailableError(OpError, RuntimeError):
    """A required resource, such as a GPU, is not available."""


class InternalError(OpError, RuntimeError):
    """An internal step failed, such as the compilation of a generated shader."""


class UnimplementedError(OpError, NotImplementedError):
    """The backend or build does not support the operation."""


# Tracebacks show the public path of each class.
for _error in (OpError, InvalidArgumentError, DTypeError, IndexOutOfRangeError,
               FailedPreconditionError, ResourceExhaustedError, UnavailableError, InternalError,
               UnimplementedError):
    _error.__module__ = "tensorbrook.errors"
