"""Convolutions with both gradients, and pooling: images (batch, height, width, channels)."""

from __future__ import annotations

from math import prod

from .gemm import gemm
from .spec import FORWARD, GRADIENT, Target, Workload, floats, size_bytes, weights

TOPIC = "Convolutions and pooling"
FORWARD_TARGET, GRADIENT_TARGET = Target(peer=1.3), Target(gemm=0.75)
DIRECTIONS = {"forward": "", "input": ", input gradient", "filter": ", filter gradient"}


def convolution(name: str, image: tuple[int, ...], filter: tuple[int, ...], *, strides: int = 1,
                dilations: int = 1) -> list[Workload]:
    """Forward and both gradients, with SAME padding."""
    out = (image[0], image[1] // strides, image[2] // strides, filter[3])
    return [one_direction(direction, name, image, filter, out, strides, dilations)
            for direction in DIRECTIONS]


def one_direction(direction: str, name: str, image, filter, out, strides: int,
                  dilations: int) -> Workload:
    positions, taps = prod(out[:3]), filter[0] * filter[1]
    options = {"direction": direction, "strides": strides, "dilations": dilations,
               "depthwise": False}
    same_size_gemm = {"forward": None,
                      "filter": gemm(taps * filter[2], filter[3], positions, "TN"),
                      "input": gemm(positions, filter[2], taps * filter[3])}[direction]
    return Workload(f"conv {name}{DIRECTIONS[direction]}", TOPIC, "convolution", options,
                    {"x": floats(*image), "w": weights(*filter), "g": floats(*out)},
                    FORWARD if direction == "forward" else GRADIENT,
                    flops=2 * positions * prod(filter), same_size_gemm=same_size_gemm,
                    target=FORWARD_TARGET if direction == "forward" else GRADIENT_TARGET)


def depthwise(name: str, image: tuple[int, ...], size: int) -> list[Workload]:
    """Depthwise convolution, forward and both gradients: a separate filter for each channel."""
    arrays = {"x": floats(*image), "w": floats(size, size, image[3], 1), "g": floats(*image)}
    return [Workload(f"conv {name}{suffix}", TOPIC, "convolution",
                     {"direction": direction, "strides": 1, "dilations": 1, "depthwise": True},
                     arrays, FORWARD if direction == "forward" else GRADIENT,
                     flops=2 * prod(image) * size * size,
                     target=FORWARD_TARGET if direction == "forward" else Target())
            for direction, suffix in DIRECTIONS.items()]


def pool(kind: str, gradient: bool) -> Workload:
    x, out = floats(32, 32, 32, 16), floats(32, 16, 16, 16)
    arrays = {"x": x, "g": out} if gradient else {"x": x}
    return Workload(f"{kind} pool 2x2, 32x32x32x16{' and gradient' * gradient}", TOPIC, "pool",
                    {"kind": kind, "gradient": gradient}, arrays,
                    GRADIENT if gradient else FORWARD, target=Target(peer=1.3),
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
