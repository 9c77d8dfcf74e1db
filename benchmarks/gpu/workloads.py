"""The GPU workloads, with targets relative to PyTorch or to a copy on the same device."""

from __future__ import annotations

from math import sqrt

from ..workloads.models import LENET, MLP, gpt
from ..workloads.spec import OURS, TORCH, Target, Workload, floats, size_bytes

BOTH = (OURS, TORCH)
MIN_FLOPS = 2.0e11         # per call, so that Python's overhead is negligible
MAX_PRODUCTS = 32
TENSOR_BYTES = 256 << 20   # of a memory-bound operation; larger than any cache


def products(n: int, small: bool = False) -> Workload:
    """x @ w @ w ... with about MIN_FLOPS; the scale of w preserves the variance."""
    count = 2 if small else max(2, min(MAX_PRODUCTS, round(MIN_FLOPS / (2 * n ** 3))))
    return Workload(f"{count} products of {n}", "Matrix products, f32", "products",
                    {"count": count}, {"x": floats(n, n), "w": floats(n, n, scale=sqrt(3 / n))},
                    BOTH, flops=2 * n ** 3 * count, target=Target(torch=0.5 if n >= 2048 else 0))


def memory_bound(operation: str, count: int) -> Workload:
    """One elementwise operation on tensors of `count` elements."""
    names = "xy" if operation == "add" else "x"
    arrays = {name: floats(count) for name in names}
    return Workload(f"{operation}, {count / 2 ** 20:g} M", "Memory-bound operations",
                    "memory_bound", {"operation": operation}, arrays, BOTH,
                    moved_bytes=size_bytes(floats(count), *arrays.values()),
                    target=Target(copied=0.8))


def training(workload: Workload, torch_ratio: float = 0) -> Workload:
    return workload._replace(topic="Training steps", implementations=BOTH,
                             target=Target(torch=torch_ratio))


def workloads(small: bool, max_tensor_bytes: int) -> tuple[Workload, ...]:
    """All workloads; with `small`, tiny ones that only show that the benchmark works."""
    if small:
        tiny = gpt(batch=2, tokens=8, width=16, depth=1, heads=2, vocabulary=12)
        return (products(64, small),
                *(memory_bound(each, 1 << 16) for each in ("add", "relu", "scale")),
                training(MLP), training(LENET), training(tiny))
    count = min(TENSOR_BYTES, max_tensor_bytes) // 4
    large = gpt(batch=32, tokens=256, width=384, depth=6, heads=6)
    return (*map(products, (512, 1024, 2048, 4096)),
            *(memory_bound(each, count) for each in ("add", "relu", "scale")),
            training(MLP), training(LENET), training(large, 0.25))
