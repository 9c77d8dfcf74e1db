"""Training steps of whole networks, of the sizes used in teaching."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

from .spec import (
    JAX_CPU, NATIVE_IMPLEMENTATIONS, OURS, TORCH, TRAINING, Target, Workload, floats, labels,
    weights,
)

TOPIC = "Training steps"
TARGET = Target(peer=3, torch=0.4)
NATIVE = (OURS, JAX_CPU, TORCH)


def layers(*shapes: Sequence[int]) -> dict[str, dict]:
    """Weights w1, w2 ... and biases b1, b2 ... of zeros."""
    ws = {f"w{i}": weights(*shape) for i, shape in enumerate(shapes, 1)}
    return ws | {f"b{i}": floats(shape[-1], scale=0.0) for i, shape in enumerate(shapes, 1)}


# Two flops per multiply-add. A layer has three matrix products: one forward, two backward; the
# first layer has two, because the gradient of the images is not needed.
MLP_FLOPS = 2 * 128 * (2 * 784 * 256 + 3 * (256 * 128 + 128 * 10))
LENET_FLOPS = 2 * 64 * (2 * 24 * 24 * 25 * 6 + 3 * (8 * 8 * 150 * 16 + 256 * 120 + 120 * 84 + 840))

MLP = Workload("MLP training step", TOPIC, "mlp", {"checked_steps": 4},
               {"x": floats(128, 784), "y": labels(128, classes=10),
                **layers((784, 256), (256, 128), (128, 10))},
               TRAINING, MLP_FLOPS, target=TARGET, native=NATIVE_IMPLEMENTATIONS, quick=True)

LENET = Workload("LeNet training step", TOPIC, "lenet", {"checked_steps": 4},
                 {"x": floats(64, 28, 28, 1), "y": labels(64, classes=10),
                  **layers((5, 5, 1, 6), (5, 5, 6, 16), (256, 120), (120, 84), (84, 10))},
                 TRAINING, LENET_FLOPS, target=TARGET, native=NATIVE)


def normalized(name: str, width: int, *, moving: bool = False) -> dict[str, dict]:
    """Scale and offset of a normalization; with `moving`, also its moving mean and variance."""
    arrays = {f"{name}.gamma": floats(width, scale=0.2, offset=1.0),
              f"{name}.beta": floats(width, scale=0.1)}
    if not moving: return arrays
    return arrays | {f"{name}.mean": floats(width, scale=0.1),
                     f"{name}.variance": floats(width, scale=0.3, offset=1.0)}


def dense(name: str, inputs: int, units: int) -> dict[str, dict]:
    """Weights that preserve the variance of their inputs, and biases."""
    return {f"{name}.w": floats(inputs, units, scale=sqrt(3 / inputs)),
            f"{name}.b": floats(units, scale=0.1)}


# Batch, side, widths of the stages, blocks in each: section 4.2 of He et al., 2015
# (arXiv:1512.03385).
IMAGES, SIDE, WIDTHS, BLOCKS = 32, 32, (16, 32, 64), 3


def resnet() -> Workload:
    """ResNet-20; its shortcuts are 1x1 convolutions where the width changes."""
    arrays = {"stem.w": weights(3, 3, 3, WIDTHS[0]), **normalized("stem", WIDTHS[0])}
    multiply_adds, in_width, side = 2 * IMAGES * SIDE ** 2 * 27 * WIDTHS[0], WIDTHS[0], SIDE
    for i in range(len(WIDTHS) * BLOCKS):
        width = WIDTHS[i // BLOCKS]
        units = {f"{i}.a": (3, 3, in_width, width), f"{i}.b": (3, 3, width, width)}
        if width != in_width:
            units[f"{i}.short"], side = (1, 1, in_width, width), side // 2
        for name, shape in units.items():
            arrays |= {f"{name}.w": weights(*shape), **normalized(name, width)}
            multiply_adds += 3 * IMAGES * side ** 2 * prod(shape)
        in_width = width
    arrays |= dense("head", in_width, 10)
    multiply_adds += 3 * IMAGES * in_width * 10
    return Workload("ResNet-20 training step", TOPIC, "resnet", {"checked_steps": 2},
                    {"x": floats(IMAGES, SIDE, SIDE, 3), "y": labels(IMAGES, classes=10), **arrays},
                    TRAINING, 2 * multiply_adds, tolerance=1e-2, target=TARGET,
                    native=NATIVE)


def lstm(batch: int = 32, steps: int = 64, features: int = 128, units: int = 128) -> Workload:
    """An LSTM with gates in Keras's order i, f, c, o; its last state is classified."""
    arrays = {"kernel": floats(features, 4 * units, scale=sqrt(6 / (features + units))),
              "recurrent": floats(units, 4 * units, scale=sqrt(3 / units) / 2),
              "bias": floats(4 * units, scale=0.1), **dense("head", units, 10)}
    # The gradient of the features is not needed; the recurrent product has both gradients.
    multiply_adds = batch * steps * 4 * units * (2 * features + 3 * units) + 3 * batch * units * 10
    return Workload("LSTM training step", TOPIC, "lstm", {"checked_steps": 3},
                    {"x": floats(batch, steps, features), "y": labels(batch, classes=10), **arrays},
                    TRAINING, 2 * multiply_adds, target=TARGET, native=NATIVE)


def gpt(batch: int = 16, tokens: int = 64, width: int = 128, depth: int = 4, heads: int = 4,
        vocabulary: int = 96) -> Workload:
    """A pre-norm GPT (Radford et al., 2019) with GELU by tanh and AdamW."""
    arrays = {"embed": floats(vocabulary, width, scale=0.1),
              "positions": floats(tokens, width, scale=0.1)}
    for i in range(depth):
        arrays |= {**normalized(f"{i}.ln1", width), **dense(f"{i}.qkv", width, 3 * width),
                   **dense(f"{i}.out", width, width), **normalized(f"{i}.ln2", width),
                   **dense(f"{i}.up", width, 4 * width), **dense(f"{i}.down", 4 * width, width)}
    arrays |= {**normalized("ln", width), **dense("head", width, vocabulary)}
    per_token = depth * (12 * width ** 2 + 2 * tokens * width) + width * vocabulary
    return Workload("GPT training step", TOPIC, "gpt",
                    {"checked_steps": 3, "depth": depth, "heads": heads},
                    {"x": labels(batch, tokens, classes=vocabulary),
                     "y": labels(batch, tokens, classes=vocabulary), **arrays},
                    TRAINING, 6 * batch * tokens * per_token, target=TARGET._replace(scaling=1.7),
                    native=NATIVE)


GPT = gpt()
WORKLOADS = (MLP, LENET, resnet(), lstm(), GPT)
