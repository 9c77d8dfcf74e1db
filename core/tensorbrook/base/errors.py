"""The errors of `tf.errors`. Each names the op, the values, and the way out, in one sentence."""


class OpError(Exception):
    """An operation that could not be carried out: `op: what; way out`."""

    def __init__(self, op: str, what: str = "", way_out: str = ""):
        self.op, self.problem, self.hint = op, what, way_out
        parts = [f"{op}: {what}" if what else op, way_out]
        self.message = "; ".join(part for part in parts if part)
        super().__init__(self.message)


class InvalidArgumentError(OpError, ValueError):
    """Shapes, axes or values that do not fit the operation."""


class DTypeError(InvalidArgumentError, TypeError):
    """Element types that do not fit the operation, or each other."""


class FailedPreconditionError(OpError, RuntimeError):
    """The operation is right, but not now: a tape that was used up, a model not yet built."""


class ResourceExhaustedError(OpError, MemoryError):
    """More memory was asked for than the machine or the page can give."""


class UnavailableError(OpError, RuntimeError):
    """What the operation needs is not there on this machine: a GPU."""


class InternalError(OpError, RuntimeError):
    """Something that should never fail did: a shader that a GPU's driver refuses."""


class UnimplementedError(OpError, NotImplementedError):
    """This backend or build cannot do that yet."""


# Tracebacks name them as users know them.
for _error in (OpError, InvalidArgumentError, DTypeError, FailedPreconditionError,
               ResourceExhaustedError, UnavailableError, InternalError, UnimplementedError):
    _error.__module__ = "tensorbrook.errors"
