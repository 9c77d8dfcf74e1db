"""Inference of whole networks, with random weights."""

from __future__ import annotations

from math import prod, sqrt

from .models import dense, normalized
from .spec import JAX, JAX_CPU, ORT, OURS, TFJS, TORCH, Target, Workload, floats, labels, weights

TOPIC = "Inference"
TARGET = Target(peer=1.2)
IMPLEMENTATIONS, NATIVE = (OURS, JAX, TFJS, ORT), (OURS, JAX_CPU, TORCH)

# Expansion, channels, repeats and first strides of each kind of block: table 2 of Sandler et al.,
# 2018 (arXiv:1801.04381).
MOBILENET = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
             (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet(side: int = 224) -> Workload:
    """MobileNetV2 with its batch norms, which an implementation may merge into the filters."""
    units, strides, width = {"stem": (side // 2, (3, 3, 3, 32))}, [], 32
    side //= 2
    for expansion, channels, repeats, first_stride in MOBILENET:
        for stride in [first_stride] + [1] * (repeats - 1):
            i, hidden = len(strides), width * expansion
            if expansion > 1:
                units[f"{i}.expand"] = side, (1, 1, width, hidden)
            side //= stride
            units |= {f"{i}.depthwise": (side, (3, 3, hidden, 1)),
                      f"{i}.project": (side, (1, 1, hidden, channels))}
            strides, width = [*strides, stride], channels
    units["last"] = side, (1, 1, width, 1280)
    arrays = {"x": floats(1, 224, 224, 3), **unit_arrays(units), **dense("head", 1280, 1000)}
    multiply_adds = sum(s * s * prod(filter) for s, filter in units.values()) + 1280 * 1000
    return Workload("MobileNetV2 inference", TOPIC, "mobilenet", {"strides": strides}, arrays,
                    IMPLEMENTATIONS, 2 * multiply_adds, tolerance=1e-2, target=TARGET,
                    native=NATIVE)


def unit_arrays(units: dict[str, tuple[int, tuple[int, ...]]]) -> dict[str, dict]:
    """The parameters of convolutions and of their batch norms."""
    arrays = {}
    for name, (_, shape) in units.items():
        depthwise = shape[3] == 1
        arrays[f"{name}.w"] = floats(*shape, scale=sqrt(6 / 9)) if depthwise else weights(*shape)
        arrays |= normalized(name, shape[2] if depthwise else shape[3], moving=True)
    return arrays


def bert(tokens: int = 128, width: int = 384, depth: int = 6, heads: int = 12) -> Workload:
    """BERT (Devlin et al., 2018, arXiv:1810.04805) of MiniLM's size; GELU by erf, post-norm.

    The time of an embedding does not depend on its vocabulary, which is a thousand tokens here."""
    arrays = {"embed": floats(1000, width), "positions": floats(tokens, width),
              **normalized("ln", width)}
    for i in range(depth):
        layers = {name: (width, width) for name in ("q", "k", "v", "out")}
        layers |= {"up": (width, 4 * width), "down": (4 * width, width)}
        for name, sizes in layers.items():
            arrays |= dense(f"{i}.{name}", *sizes)
        arrays |= {**normalized(f"{i}.ln1", width), **normalized(f"{i}.ln2", width)}
    return Workload("BERT inference", TOPIC, "bert", {"depth": depth, "heads": heads},
                    {"x": labels(1, tokens, classes=1000), **arrays}, IMPLEMENTATIONS,
                    2 * tokens * depth * (12 * width ** 2 + 2 * tokens * width),
                    target=TARGET, native=NATIVE)


WORKLOADS = (mobilenet(), bert())
