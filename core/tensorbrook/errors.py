"""`tf.errors`: the exceptions that operations raise."""
from .base.errors import (
    DTypeError, FailedPreconditionError, InternalError, InvalidArgumentError, OpError,
    ResourceExhaustedError, UnavailableError, UnimplementedError)

__all__ = ["DTypeError", "FailedPreconditionError", "InternalError", "InvalidArgumentError",
           "OpError", "ResourceExhaustedError", "UnavailableError", "UnimplementedError"]
