"""`tf.errors`: what operations raise."""
from .base.errors import (
    DTypeError, FailedPreconditionError, InvalidArgumentError, OpError, ResourceExhaustedError,
    UnavailableError, UnimplementedError)

__all__ = ["DTypeError", "FailedPreconditionError", "InvalidArgumentError", "OpError",
           "ResourceExhaustedError", "UnavailableError", "UnimplementedError"]
