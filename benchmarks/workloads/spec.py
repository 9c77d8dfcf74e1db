"""What a workload is: the inputs that all contenders get, who takes part, what it shall reach."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import NamedTuple

OURS, KERAS, JAX, TFJS, ORT = "tensorbrook", "tensorbrook keras", "jax-js", "tfjs", "ort"
CONTENDERS = (OURS, KERAS, JAX, TFJS, ORT)
PURE = (OURS, JAX, TFJS, ORT)            # those who compute a function
TRAINERS = (OURS, KERAS, JAX, TFJS)      # those who also train
NUMPY, JAX_CPU, TORCH = "numpy", "jax", "torch"
NATIVE_CONTENDERS = (OURS, NUMPY, JAX_CPU, TORCH)


class Goal(NamedTuple):
    """What a row shall reach, each as a ratio; 0 where nothing is asked."""

    peer: float = 0      # the best peer's time to ours
    jax: float = 0       # jax-js's time to ours
    fma: float = 0       # of the multiply-add ceiling
    copied: float = 0    # of the rate at which as much is copied
    gemm: float = 0      # of our rate in a product of the same size
    torch: float = 0     # PyTorch's time to ours
    scaling: float = 0   # our time with one thread to that with all of them


class Workload(NamedTuple):
    """One row of a table. `arrays` are what page/workload.ts calls ArraySpecs.

    `flops` and `moved_bytes` are what the task itself asks for, however it is computed: each input
    read once, each output written once. `same_size` is a product with as many multiply-adds."""

    name: str
    topic: str
    family: str
    options: dict
    arrays: dict[str, dict]
    contenders: Sequence[str] = PURE
    flops: int = 0
    moved_bytes: int = 0
    tolerance: float = 1e-3
    goal: Goal = Goal()
    native: Sequence[str] = ()
    same_size: Workload | None = None
    quick: bool = False

    def request(self) -> dict:
        """What the page needs to know of it."""
        return {"name": self.name, "family": self.family, "options": self.options,
                "arrays": self.arrays}


def floats(*shape: int, scale: float = 1.0, offset: float = 0.0) -> dict:
    """Uniform in [offset - scale, offset + scale)."""
    return {"shape": shape, "scale": scale, "offset": offset}


def labels(*shape: int, classes: int) -> dict:
    """Whole numbers from 0 up to, but not including, `classes`."""
    return {"shape": shape, "classes": classes}


def weights(*shape: int) -> dict:
    """With He's scale for their fan-in (He et al., 2015, arXiv:1502.01852)."""
    return floats(*shape, scale=sqrt(6 / prod(shape[:-1])))


def size_bytes(*arrays: dict) -> int:
    """What these arrays occupy."""
    return sum(4 * prod(spec["shape"]) for spec in arrays)
