"""Loop builder: builds a LoopKernel together with the arrays of its loads and stores."""
import numpy as np

from wasm_program_runner import var_like
from tensorbrook.base import dtypes
from tensorbrook.base.dtypes import bool_, float32, int32, uint8
from tensorbrook.base.views import View
from tensorbrook.ir import ElementwiseOp, Load, LoopKernel, RowPass, Store
from tensorbrook.ir.scalar_expression import scalar_expression


def random_array(shape, dtype=float32, seed=0):
    rng = np.random.default_rng(seed)
    if dtype is float32:
        return rng.normal(0, 3, shape).astype(np.float32)
    high = {bool_: 2, uint8: 256, int32: 1000}[dtype]
    return rng.integers(-high if dtype is int32 else 0, high, shape).astype(dtype.name)


class LoopBuilder:
    """Values, stores and arrays; `value` and `post_reduce` return the index of the new value."""

    def __init__(self, space, axes=()):
        self.space, self.axes = tuple(space), tuple(axes)
        self.reduced_space = tuple(1 if i in self.axes else n for i, n in enumerate(self.space))
        self.values, self.in_post_reduce, self.passes = [], [], []
        self.stores, self.arrays = [], {}

    def value(self, value) -> int:
        """Add a per-element value; after a post-reduction value, it starts a new pass."""
        if not self.in_post_reduce or self.in_post_reduce[-1]:
            self.passes.append(([], []))
        self.passes[-1][0].append(value)
        return self._append(value, False)

    def post_reduce(self, value) -> int:
        """Add a post-reduction value to the current pass."""
        self.passes[-1][1].append(value)
        return self._append(value, True)

    def _append(self, value, post_reduce: bool) -> int:
        self.values.append(value)
        self.in_post_reduce.append(post_reduce)
        return len(self.values) - 1

    def load(self, array, view=None, post_reduce=False) -> int:
        """Load `array`, by default broadcast to the space."""
        dtype = dtypes.as_dtype(array.dtype)
        source = var_like(array, dtype)
        self.arrays[source] = array
        space = self.reduced_space if post_reduce else self.space
        view = view or View.of(array.shape).broadcast_to(space)
        return (self.post_reduce if post_reduce else self.value)(Load(source, view, dtype))

    def apply(self, expression, *args, dtype=float32, post_reduce=False) -> int:
        value = ElementwiseOp(scalar_expression(expression), args, dtype)
        return (self.post_reduce if post_reduce else self.value)(value)

    def store(self, value, view=None, count=None):
        """Store into a new buffer of `count` elements, by default the number of elements."""
        dtype = self.values[value].dtype
        view = view or View.of(self.reduced_space if self.in_post_reduce[value] else self.space)
        count = int(np.prod(view.shape)) if count is None else count
        array = random_array((count,), dtype, seed=9)
        target = var_like(array, dtype)
        self.arrays[target] = array
        self.stores.append(Store(value, target, view))

    def loop(self) -> LoopKernel:
        passes = tuple(RowPass(tuple(body), tuple(tail)) for body, tail in self.passes)
        return LoopKernel(self.space, self.axes, passes, tuple(self.stores), ())
