"""`tf.errors`: the exceptions that operations raise."""
from .base.errors import (
    DTypeError, FailedPreconditionError, IndexOutOfRangeError, InternalError, InvalidArgumentError,
    OpError, ResourceExhaustedError, UnavailableError, UnimplementedError)

__all__ = ["DTypeError", "FailedPreconditionError", "IndexOutOfRangeError", "InternalError",
           "InvalidArgumentError", "OpError", "ResourceExhaustedError", "UnavailableError",
           "UnimplementedError"]
