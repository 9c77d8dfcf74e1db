"""Matrix products: all four transposes, batches, and the thin products of layers and attention."""

from __future__ import annotations

from .spec import NATIVE_IMPLEMENTATIONS, Target, Workload, floats

LARGE, SMALL = Target(peer=1.4, fma=0.9), Target(peer=2)
TOPIC = "Matrix products"


def gemm(m: int, n: int, k: int, kind: str = "NN", *, batch: int = 0, **settings) -> Workload:
    """out (m, n) = A (m, k) @ B (k, n); a T in `kind` marks a matrix that is stored transposed."""
    transpose_a, transpose_b = (letter == "T" for letter in kind)
    a, b = ((k, m) if transpose_a else (m, k)), ((n, k) if transpose_b else (k, n))
    size = str(n) if m == n == k else f"{m}x{n}x{k}"
    batch_axes = (batch,) if batch else ()
    settings.setdefault("target", LARGE if min(m, n, k) >= 256 else SMALL)
    return Workload(
        f"GEMM {f'{batch} of ' if batch else ''}{size} {kind}", TOPIC, "gemm",
        {"transpose_a": transpose_a, "transpose_b": transpose_b},
        {"a": floats(*batch_axes, *a), "b": floats(*batch_axes, *b)},
        flops=2 * m * n * k * (batch or 1), **settings)


ALSO_NATIVE = {"native": NATIVE_IMPLEMENTATIONS}

WORKLOADS = (
    gemm(32, 32, 32), gemm(64, 64, 64), gemm(128, 128, 128, quick=True, **ALSO_NATIVE),
    gemm(256, 256, 256), gemm(512, 512, 512, **ALSO_NATIVE), gemm(1024, 1024, 1024, **ALSO_NATIVE),
    gemm(2048, 2048, 2048),
    *(gemm(n, n, n, kind) for n in (128, 512) for kind in ("NT", "TN", "TT")),
    # Scores and values of attention: 16 sentences of 64 tokens, 4 heads of width 32.
    gemm(64, 64, 32, "NT", batch=64, **ALSO_NATIVE), gemm(64, 32, 64, batch=64),
    gemm(64, 64, 32, batch=64), gemm(128, 128, 128, batch=16),
    # The layers of the MLP, of LeNet and of the GPT; a vector and eight rows at inference.
    gemm(128, 256, 784, target=LARGE), gemm(784, 256, 128, "TN", target=LARGE),
    gemm(128, 10, 128), gemm(64, 10, 84), gemm(1024, 384, 128, **ALSO_NATIVE),
    gemm(1, 1024, 1024, **ALSO_NATIVE), gemm(8, 512, 512),
)
