"""Networks as they are served, with random weights that everybody is given."""

from __future__ import annotations

from math import prod, sqrt

from .models import dense, normalized
from .spec import JAX, JAX_CPU, ORT, OURS, TFJS, TORCH, Goal, Workload, floats, labels, weights

TOPIC = "Inference"
GOAL = Goal(peer=1.2)
CONTENDERS, NATIVELY = (OURS, JAX, TFJS, ORT), (OURS, JAX_CPU, TORCH)

# Expansion, channels, repeats and first strides of each kind of block: table 2 of Sandler et al.,
# 2018 (arXiv:1801.04381).
MOBILENET = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
             (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet(side: int = 224) -> Workload:
    """MobileNetV2 with its batch norms; those who can fold them into the convolutions do."""
    units, strides, width = {"stem": (side // 2, (3, 3, 3, 32))}, [], 32
    side //= 2
    for expansion, channels, repeats, first in MOBILENET:
        for stride in [first] + [1] * (repeats - 1):
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
                    CONTENDERS, 2 * multiply_adds, tolerance=1e-2, goal=GOAL, native=NATIVELY)


def unit_arrays(units: dict[str, tuple[int, tuple[int, ...]]]) -> dict[str, dict]:
    """The filter and the batch norm of each convolution."""
    arrays = {}
    for name, (_, shape) in units.items():
        depthwise = shape[3] == 1
        arrays[f"{name}.w"] = floats(*shape, scale=sqrt(6 / 9)) if depthwise else weights(*shape)
        arrays |= normalized(name, shape[2] if depthwise else shape[3], moving=True)
    return arrays


def bert(words: int = 128, width: int = 384, depth: int = 6, heads: int = 12) -> Workload:
    """Devlin et al., 2018 (arXiv:1810.04805), as small as MiniLM; GELU by erf, norms after sums.

    A lookup takes as long whatever the vocabulary is, so this one has a thousand words."""
    arrays = {"embed": floats(1000, width), "positions": floats(words, width),
              **normalized("ln", width)}
    for i in range(depth):
        parts = {name: (width, width) for name in ("q", "k", "v", "out")}
        parts |= {"up": (width, 4 * width), "down": (4 * width, width)}
        for name, sizes in parts.items():
            arrays |= dense(f"{i}.{name}", *sizes)
        arrays |= {**normalized(f"{i}.ln1", width), **normalized(f"{i}.ln2", width)}
    return Workload("BERT inference", TOPIC, "bert", {"depth": depth, "heads": heads},
                    {"x": labels(1, words, classes=1000), **arrays}, CONTENDERS,
                    2 * words * depth * (12 * width ** 2 + 2 * words * width),
                    goal=GOAL, native=NATIVELY)


WORKLOADS = (mobilenet(), bert())
