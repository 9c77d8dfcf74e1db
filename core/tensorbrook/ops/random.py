"""`tf.random`: a counter-based random number generator, identical on every backend and host.

The state of Philox 4x32-10 is a Variable, (key0, key1, counter low, counter high). A draw reads the
state and advances the counter, so a program that draws is a program that updates a Variable.
"""
from math import pi, prod

from ..base import dtypes, shapes
from ..base.errors import InvalidArgumentError
from ..tensor import Tensor, Variable, context, context_stack
from . import kernel_primitives as kp
from . import math
from . import primitives as p
from .array_ops import constant, slice


class Generator:
    """A separate stream of random numbers: `tf.random.Generator.from_seed(7).normal((2,))`."""

    def __init__(self, seed: int = 0):
        self._seed = seed
        self._state: Variable | None = None

    @classmethod
    def from_seed(cls, seed: int) -> "Generator":
        return cls(seed)

    @property
    def state(self) -> Variable:
        if self._state is None:
            with context(context_stack()[0]):
                self._state = Variable(
                    _initial_state(self._seed), trainable=False, name="random_state")
        return self._state

    def reset_from_seed(self, seed: int) -> None:
        self._seed = seed
        if self._state is not None:
            self._state.assign(_initial_state(seed))

    def reseed_if_lost(self) -> None:
        """Start another stream if the state was lost with its device."""
        if self._state is not None and self._state.storage.backend.is_lost:
            self.reset_from_seed(self._seed + 2**32)

    def bits(self, shape) -> Tensor:
        """Uniformly distributed random bits, as int32."""
        shape = shapes.as_shape("random", shape)
        state = self.state.value()
        self.state.assign(_advance_counter(state, -(-prod(shape) // 4)))
        return kp.random_bits(state, shape=shape)

    def uniform(self, shape, minval=0.0, maxval=None, dtype=dtypes.float32) -> Tensor:
        """The uniform distribution over [minval, maxval); `maxval` is 1 by default for floats."""
        dtype = dtypes.as_dtype(dtype)
        if not dtype.is_floating:
            return self._uniform_int(shape, minval, maxval, dtype)
        unit = _bits_to_uniform(self.bits(shape), 11 if dtype is dtypes.float16 else 24)
        maxval = 1.0 if maxval is None else maxval
        return math.cast(_scale_and_shift(unit, maxval - minval, minval), dtype)

    def _uniform_int(self, shape, minval, maxval, dtype) -> Tensor:
        if maxval is None or maxval <= minval:
            raise InvalidArgumentError(
                "random.uniform",
                f"the range {minval} to {maxval} of {dtype} is empty",
                "use maxval > minval",
            )
        low31 = p.bitwise_and(self.bits(shape), 0x7FFFFFFF)
        return math.cast(math.mod(low31, int(maxval) - int(minval)) + int(minval), dtype)

    def normal(self, shape, mean=0.0, stddev=1.0, dtype=dtypes.float32) -> Tensor:
        """The normal distribution, by the Box-Muller transform."""
        shape = shapes.as_shape("random", shape)
        # 1 - u is not 0, so its logarithm is finite.
        radius = p.sqrt(p.log(1.0 - _bits_to_uniform(self.bits(shape))) * -2.0)
        out = radius * p.cos(_bits_to_uniform(self.bits(shape)) * (2 * pi))
        return math.cast(_scale_and_shift(out, stddev, mean), dtype)

    def truncated_normal(self, shape, mean=0.0, stddev=1.0, dtype=dtypes.float32) -> Tensor:
        """The normal distribution truncated to two standard deviations, by inverse sampling."""
        # Phi(-2) and Phi(2), the bounds of the quantiles.
        low, high = 0.022750131948179195, 0.9772498680518208
        quantile = self.uniform(shape, low, high)
        return math.cast(_scale_and_shift(_normal_quantile(quantile), stddev, mean), dtype)


def _scale_and_shift(x: Tensor, factor, offset) -> Tensor:
    """`x * factor + offset`, without operations if the factor is 1 and the offset 0."""
    is_static = isinstance(factor, (int, float)) and isinstance(offset, (int, float))
    return x if is_static and (factor, offset) == (1, 0) else x * factor + offset


def _initial_state(seed: int) -> Tensor:
    words = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, 0, 0]
    return constant([w - 2**32 if w >= 2**31 else w for w in words], dtypes.int32)


def _advance_counter(state: Tensor, blocks: int) -> Tensor:
    """The state after `blocks` blocks: a 64-bit addition on two 32-bit words."""
    # All operations have shape (4,), so that they fuse into one kernel.
    low = p.broadcast_to(slice(state, (2,), (1,)), shape=(4,))
    # The low word overflowed if the sum is less as unsigned, that is with the sign bit flipped.
    sign_bit = -2**31
    overflow = p.less(p.bitwise_xor(low + blocks, sign_bit), p.bitwise_xor(low, sign_bit))
    word = p.iota(shape=(4,), axis=0)
    carry = p.select(p.equal(word, 3), math.cast(overflow, dtypes.int32), 0)
    return state + p.select(p.equal(word, 2), blocks, carry)


def _bits_to_uniform(bits: Tensor, num_bits: int = 24) -> Tensor:
    """Uniform floats in [0, 1) in steps of 2**-num_bits, from the upper bits.

    `num_bits` is the precision of the float, so that no value rounds to 1.
    """
    upper_bits = p.bitwise_and(p.right_shift(bits, 32 - num_bits), (1 << num_bits) - 1)
    return math.cast(upper_bits, dtypes.float32) * 2.0**-num_bits


def _normal_quantile(u: Tensor) -> Tensor:
    """The inverse of the normal distribution function, for u in [1e-10, 1 - 1e-10].

    The relative error is 1e-6. Source: PPND7 of Wichura, "Algorithm AS 241", Applied Statistics 37
    (1988).
    """
    q = u - 0.5
    r = q * q * -1.0 + 0.180625
    center = q * _rational_polynomial(
        r, (3.3871327179, 50.434271938, 159.29113202, 59.109374720),
        (1.0, 17.895169469, 78.757757664, 67.187563600))
    tail = p.minimum(u, 1.0 - u)
    s = p.sqrt(p.log(tail) * -1.0) - 1.6
    edge = _rational_polynomial(
        s, (1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103),
        (1.0, 0.73700164250, 0.12021132975))
    return math.where(p.less_equal(p.abs_(q), 0.425), center, edge * p.sign(q))


def _rational_polynomial(x: Tensor, numerator, denominator) -> Tensor:
    """The quotient of two polynomials; coefficients are in ascending order."""
    return _polynomial(x, numerator) / _polynomial(x, denominator)


def _polynomial(x: Tensor, coefficients) -> Tensor:
    """Horner's method."""
    total = x * coefficients[-1] + coefficients[-2]
    for a in reversed(coefficients[:-2]):
        total = total * x + a
    return total


_global = Generator(0)


def get_global_generator() -> Generator:
    return _global


def set_seed(seed: int) -> None:
    """Restart the global stream of random numbers; equal seeds produce equal numbers."""
    _global.reset_from_seed(seed)


def uniform(shape, minval=0.0, maxval=None, dtype=dtypes.float32) -> Tensor:
    return _global.uniform(shape, minval, maxval, dtype)


def normal(shape, mean=0.0, stddev=1.0, dtype=dtypes.float32) -> Tensor:
    return _global.normal(shape, mean, stddev, dtype)


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=dtypes.float32) -> Tensor:
    return _global.truncated_normal(shape, mean, stddev, dtype)
