"""What is measured on a GPU, and what it shall reach beside PyTorch or a copy on the same one."""

from __future__ import annotations

from math import sqrt

from ..workloads.models import LENET, MLP, gpt
from ..workloads.spec import OURS, TORCH, Goal, Workload, floats, size_bytes

BOTH = (OURS, TORCH)
ENOUGH_FLOPS = 2.0e11      # in a call, so that what Python adds to it does not show
MOST_PRODUCTS = 32
STREAM_BYTES = 256 << 20   # of each tensor: no cache holds it


def products(n: int, small: bool = False) -> Workload:
    """x @ w @ w ..., so often that a call takes a while; w keeps the size of what it multiplies."""
    count = 2 if small else max(2, min(MOST_PRODUCTS, round(ENOUGH_FLOPS / (2 * n ** 3))))
    return Workload(f"{count} products of {n}", "Matrix products, f32", "products",
                    {"count": count}, {"x": floats(n, n), "w": floats(n, n, scale=sqrt(3 / n))},
                    BOTH, flops=2 * n ** 3 * count, goal=Goal(torch=0.5 if n >= 2048 else 0))


def stream(operation: str, count: int) -> Workload:
    """One pass over tensors of `count` numbers."""
    names = "xy" if operation == "add" else "x"
    arrays = {name: floats(count) for name in names}
    return Workload(f"{operation}, {count / 2 ** 20:g} M", "Streams", "stream",
                    {"operation": operation}, arrays, BOTH,
                    moved_bytes=size_bytes(floats(count), *arrays.values()),
                    goal=Goal(copied=0.8))


def training(workload: Workload, goal: float = 0) -> Workload:
    return workload._replace(topic="Training steps", contenders=BOTH, goal=Goal(torch=goal))


def workloads(small: bool, stream_bytes: int) -> tuple[Workload, ...]:
    """All of them, or a size of each by which to see that they work."""
    if small:
        tiny = gpt(batch=2, words=8, width=16, depth=1, heads=2, vocabulary=12)
        return (products(64, small), *(stream(each, 1 << 16) for each in ("add", "relu", "scale")),
                training(MLP), training(LENET), training(tiny))
    count = min(STREAM_BYTES, stream_bytes) // 4
    large = gpt(batch=32, words=256, width=384, depth=6, heads=6)
    return (*map(products, (512, 1024, 2048, 4096)),
            *(stream(each, count) for each in ("add", "relu", "scale")),
            training(MLP), training(LENET), training(large, 0.25))
