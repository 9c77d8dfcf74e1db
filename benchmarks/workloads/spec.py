"""The specification of a workload: its inputs, the implementations that run it, its target."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import NamedTuple

OURS, KERAS, JAX, TFJS, ORT = "tensorbrook", "tensorbrook keras", "jax-js", "tfjs", "ort"
IMPLEMENTATIONS = (OURS, KERAS, JAX, TFJS, ORT)
FORWARD = (OURS, JAX, TFJS, ORT)         # for a function without gradients
GRADIENT = (OURS, JAX, TFJS)             # for a function and its gradients
TRAINING = (OURS, KERAS, JAX, TFJS)      # for a training step
NUMPY, JAX_CPU, TORCH = "numpy", "jax", "torch"
NATIVE_IMPLEMENTATIONS = (OURS, NUMPY, JAX_CPU, TORCH)


class Target(NamedTuple):
    """The performance target of a row: the minimum of each metric, a ratio; 0 for no target."""

    peer: float = 0      # time of the fastest other library / our time
    jax: float = 0       # time of jax-js / our time
    fma: float = 0       # our flops / peak rate of multiply-adds
    copied: float = 0    # our bytes per second / peak rate of a copy of the same size
    gemm: float = 0      # our time for a matrix product of the same size / our time
    torch: float = 0     # time of PyTorch / our time
    scaling: float = 0   # our time with one thread / our time with all threads


class Workload(NamedTuple):
    """One row of a table. `arrays` are the `ArraySpec`s of page/workload.ts.

    `flops` and `moved_bytes` are those of the definition, independent of the algorithm: each input
    read once, each output written once. `same_size_gemm` is a matrix product with the same number
    of multiply-adds."""

    name: str
    topic: str
    family: str
    options: dict
    arrays: dict[str, dict]
    implementations: Sequence[str] = FORWARD
    flops: int = 0
    moved_bytes: int = 0
    tolerance: float = 1e-3
    target: Target = Target()
    native: Sequence[str] = ()
    same_size_gemm: Workload | None = None
    quick: bool = False

    def request(self) -> dict:
        """The part of the specification that the page receives."""
        return {"name": self.name, "family": self.family, "options": self.options,
                "arrays": self.arrays}


def floats(*shape: int, scale: float = 1.0, offset: float = 0.0) -> dict:
    """Floats, uniform in [offset - scale, offset + scale)."""
    return {"shape": shape, "scale": scale, "offset": offset}


def labels(*shape: int, classes: int) -> dict:
    """Integers, uniform in [0, classes)."""
    return {"shape": shape, "classes": classes}


def weights(*shape: int) -> dict:
    """Weights with He's scale for their fan-in (He et al., 2015, arXiv:1502.01852)."""
    return floats(*shape, scale=sqrt(6 / prod(shape[:-1])))


def size_bytes(*arrays: dict) -> int:
    """The size of arrays of 4-byte elements."""
    return sum(4 * prod(spec["shape"]) for spec in arrays)
