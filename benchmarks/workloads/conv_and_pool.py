"""Convolutions with both gradients, and pooling: images (batch, height, width, channels)."""

from __future__ import annotations

from math import prod

from .gemm import gemm
from .spec import JAX, OURS, PURE, TFJS, Goal, Workload, floats, size_bytes, weights

TOPIC = "Convolutions and pooling"
FORWARD, GRADIENT = Goal(peer=1.3), Goal(gemm=0.75)
WHICH = {"forward": "", "input": ", input gradient", "filter": ", filter gradient"}


def convolution(name: str, image: tuple[int, ...], filter: tuple[int, ...], *, strides: int = 1,
                dilations: int = 1) -> list[Workload]:
    """Forward and both gradients, padded so that a stride of 1 keeps the size."""
    out = (image[0], image[1] // strides, image[2] // strides, filter[3])
    return [one_of(which, name, image, filter, out, strides, dilations) for which in WHICH]


def one_of(which: str, name: str, image, filter, out, strides: int, dilations: int) -> Workload:
    positions, taps = prod(out[:3]), filter[0] * filter[1]
    options = {"which": which, "strides": strides, "dilations": dilations, "depthwise": False}
    same = {"forward": None, "filter": gemm(taps * filter[2], filter[3], positions, "TN"),
            "input": gemm(positions, filter[2], taps * filter[3])}[which]
    return Workload(f"conv {name}{WHICH[which]}", TOPIC, "convolution", options,
                    {"x": floats(*image), "w": weights(*filter), "g": floats(*out)},
                    PURE if which == "forward" else (OURS, JAX, TFJS),
                    flops=2 * positions * prod(filter), same_size=same,
                    goal=FORWARD if which == "forward" else GRADIENT)


def depthwise(name: str, image: tuple[int, ...], size: int) -> list[Workload]:
    """Each channel with a filter of its own."""
    arrays = {"x": floats(*image), "w": floats(size, size, image[3], 1), "g": floats(*image)}
    return [Workload(f"conv {name}{WHICH[which]}", TOPIC, "convolution",
                     {"which": which, "strides": 1, "dilations": 1, "depthwise": True}, arrays,
                     PURE if which == "forward" else (OURS, JAX, TFJS),
                     flops=2 * prod(image) * size * size,
                     goal=FORWARD if which == "forward" else Goal()) for which in WHICH]


def pool(kind: str, gradient: bool) -> Workload:
    x, out = floats(32, 32, 32, 16), floats(32, 16, 16, 16)
    arrays = {"x": x, "g": out} if gradient else {"x": x}
    return Workload(f"{kind} pool 2x2, 32x32x32x16{' and gradient' * gradient}", TOPIC, "pool",
                    {"kind": kind, "gradient": gradient}, arrays,
                    (OURS, JAX, TFJS) if gradient else PURE, goal=Goal(peer=1.3),
                    moved_bytes=(1 + gradient) * size_bytes(x, out))


WORKLOADS = (
    *convolution("1x1 64>64, 8x28x28", (8, 28, 28, 64), (1, 1, 64, 64)),
    *convolution("3x3 32>32, 8x32x32", (8, 32, 32, 32), (3, 3, 32, 32)),
    *convolution("3x3 64>64, 32x16x16", (32, 16, 16, 64), (3, 3, 64, 64)),
    *convolution("5x5 16>32, 8x28x28", (8, 28, 28, 16), (5, 5, 16, 32)),
    *convolution("3x3 16>32 strides 2, 32x32x32", (32, 32, 32, 16), (3, 3, 16, 32), strides=2),
    *convolution("3x3 32>32 dilations 2, 8x32x32", (8, 32, 32, 32), (3, 3, 32, 32), dilations=2),
    *depthwise("3x3 depthwise 96, 4x56x56", (4, 56, 56, 96), 3),
    *(pool(kind, gradient) for kind in ("max", "avg") for gradient in (False, True)),
)
