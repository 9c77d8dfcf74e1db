"""The workloads, one line each; the same inputs go to every contender."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import NamedTuple

OURS, KERAS, JAX, TFJS, ORT = "tensorbrook", "tensorbrook keras", "jax-js", "tfjs", "ort"
CONTENDERS = (OURS, KERAS, JAX, TFJS, ORT)


class Workload(NamedTuple):
    """One row of the table. `arrays` are what page/workload.ts calls ArraySpecs."""

    name: str
    family: str
    options: dict
    arrays: dict[str, dict]
    contenders: Sequence[str]
    flops: int = 0
    tolerance: float = 1e-3
    quick: bool = False

    def request(self) -> dict:
        """What the page needs to know of it."""
        return {"name": self.name, "family": self.family, "options": self.options,
                "arrays": self.arrays}


def floats(*shape: int, scale: float = 1.0) -> dict:
    return {"shape": shape, "scale": scale}


def labels(count: int, classes: int) -> dict:
    return {"shape": [count], "classes": classes}


def gemm(m: int, n: int, k: int, kind: str = "NN", quick: bool = False) -> Workload:
    """out (m, n) = A (m, k) @ B (k, n); a T says that the matrix is stored transposed."""
    transpose_a, transpose_b = (letter == "T" for letter in kind)
    a, b = ((k, m) if transpose_a else (m, k)), ((n, k) if transpose_b else (k, n))
    size = str(n) if m == n == k else f"{m}x{n}x{k}"
    return Workload(f"GEMM {size} {kind}", "gemm",
                    {"transpose_a": transpose_a, "transpose_b": transpose_b},
                    {"a": floats(*a), "b": floats(*b)}, (OURS, JAX, TFJS, ORT), 2 * m * n * k,
                    quick=quick)


def elementwise(operation: str) -> Workload:
    arrays = {"x": floats(1024, 1024, scale=3), "y": floats(1024, 1024)}
    return Workload(f"{operation}, 1 M", "elementwise", {"operation": operation}, arrays,
                    (OURS, JAX, TFJS, ORT), tolerance=2e-3)


def layers(*shapes: Sequence[int]) -> dict[str, dict]:
    """Weights w1, w2 ... with He's scale for their fan-in, and biases b1, b2 ... of zeros."""
    weights = {f"w{i}": floats(*shape, scale=sqrt(6 / prod(shape[:-1])))
               for i, shape in enumerate(shapes, 1)}
    return weights | {f"b{i}": floats(shape[-1], scale=0.0) for i, shape in enumerate(shapes, 1)}


# Multiply-adds of the forward pass, times three for the two products of the backward pass, less
# the one for the gradient of the images, which nobody asks for; twice that are the flops.
MLP_FLOPS = 2 * 128 * (2 * 784 * 256 + 3 * (256 * 128 + 128 * 10))
LENET_FLOPS = 2 * 64 * (2 * 24 * 24 * 25 * 6 + 3 * (8 * 8 * 150 * 16 + 256 * 120 + 120 * 84 + 840))

MLP = Workload("MLP training step", "mlp", {},
               {"x": floats(128, 784), "y": labels(128, 10),
                **layers((784, 256), (256, 128), (128, 10))},
               (OURS, KERAS, JAX, TFJS), MLP_FLOPS, quick=True)

LENET = Workload("LeNet training step", "lenet", {},
                 {"x": floats(64, 28, 28, 1), "y": labels(64, 10),
                  **layers((5, 5, 1, 6), (5, 5, 6, 16), (256, 120), (120, 84), (84, 10))},
                 (OURS, KERAS, JAX, TFJS), LENET_FLOPS)

WORKLOADS = (
    gemm(128, 128, 128, quick=True), gemm(256, 256, 256), gemm(512, 512, 512),
    gemm(1024, 1024, 1024), gemm(512, 512, 512, "NT"), gemm(512, 512, 512, "TN"),
    gemm(128, 256, 784), gemm(784, 256, 128, "TN"),
    MLP, LENET,
    *map(elementwise, ("add", "exp", "tanh", "gelu", "softmax", "chain")),
)

NUMPY, JAX_CPU = "numpy", "jax"
NATIVE_CONTENDERS = (OURS, NUMPY, JAX_CPU)
NATIVE = tuple(w._replace(contenders=NATIVE_CONTENDERS) for w in WORKLOADS
               if w.name in ("GEMM 128 NN", "GEMM 512 NN", "GEMM 1024 NN", MLP.name))
