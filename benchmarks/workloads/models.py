"""Whole training steps, and inference: networks of the sizes that people teach and serve with."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

from .spec import (
    JAX_CPU, NATIVE_CONTENDERS, OURS, TORCH, TRAINERS, Goal, Workload, floats, labels, weights,
)

TOPIC = "Training steps"
TRAINING = Goal(peer=3, torch=0.4)
TRAINED_NATIVELY = (OURS, JAX_CPU, TORCH)


def layers(*shapes: Sequence[int]) -> dict[str, dict]:
    """Weights w1, w2 ... and biases b1, b2 ... of zeros."""
    ws = {f"w{i}": weights(*shape) for i, shape in enumerate(shapes, 1)}
    return ws | {f"b{i}": floats(shape[-1], scale=0.0) for i, shape in enumerate(shapes, 1)}


# Multiply-adds of the forward pass, times three for the two products of the backward pass, less
# the one for the gradient of the images, which nobody asks for; twice that are the flops.
MLP_FLOPS = 2 * 128 * (2 * 784 * 256 + 3 * (256 * 128 + 128 * 10))
LENET_FLOPS = 2 * 64 * (2 * 24 * 24 * 25 * 6 + 3 * (8 * 8 * 150 * 16 + 256 * 120 + 120 * 84 + 840))

MLP = Workload("MLP training step", TOPIC, "mlp", {"checked_steps": 4},
               {"x": floats(128, 784), "y": labels(128, classes=10),
                **layers((784, 256), (256, 128), (128, 10))},
               TRAINERS, MLP_FLOPS, goal=TRAINING, native=NATIVE_CONTENDERS, quick=True)

LENET = Workload("LeNet training step", TOPIC, "lenet", {"checked_steps": 4},
                 {"x": floats(64, 28, 28, 1), "y": labels(64, classes=10),
                  **layers((5, 5, 1, 6), (5, 5, 6, 16), (256, 120), (120, 84), (84, 10))},
                 TRAINERS, LENET_FLOPS, goal=TRAINING, native=TRAINED_NATIVELY)


def normalized(name: str, width: int, *, moving: bool = False) -> dict[str, dict]:
    """Scale and offset of a normalization, and what a trained one has measured."""
    parts = {f"{name}.gamma": floats(width, scale=0.2, offset=1.0),
             f"{name}.beta": floats(width, scale=0.1)}
    if not moving: return parts
    return parts | {f"{name}.mean": floats(width, scale=0.1),
                    f"{name}.variance": floats(width, scale=0.3, offset=1.0)}


def dense(name: str, inputs: int, units: int) -> dict[str, dict]:
    """Weights that keep the variance of their inputs, and biases."""
    return {f"{name}.w": floats(inputs, units, scale=sqrt(3 / inputs)),
            f"{name}.b": floats(units, scale=0.1)}


# Batch, side, widths of the stages, blocks in each: section 4.2 of He et al., 2015
# (arXiv:1512.03385).
IMAGES, SIDE, WIDTHS, BLOCKS = 32, 32, (16, 32, 64), 3


def resnet() -> Workload:
    """ResNet-20, its shortcuts 1x1 convolutions where the width changes."""
    arrays = {"stem.w": weights(3, 3, 3, WIDTHS[0]), **normalized("stem", WIDTHS[0])}
    multiply_adds, before, side = 2 * IMAGES * SIDE ** 2 * 27 * WIDTHS[0], WIDTHS[0], SIDE
    for i in range(len(WIDTHS) * BLOCKS):
        width = WIDTHS[i // BLOCKS]
        units = {f"{i}.a": (3, 3, before, width), f"{i}.b": (3, 3, width, width)}
        if width != before:
            units[f"{i}.short"], side = (1, 1, before, width), side // 2
        for name, shape in units.items():
            arrays |= {f"{name}.w": weights(*shape), **normalized(name, width)}
            multiply_adds += 3 * IMAGES * side ** 2 * prod(shape)
        before = width
    arrays |= dense("head", before, 10)
    multiply_adds += 3 * IMAGES * before * 10
    return Workload("ResNet-20 training step", TOPIC, "resnet", {"checked_steps": 2},
                    {"x": floats(IMAGES, SIDE, SIDE, 3), "y": labels(IMAGES, classes=10), **arrays},
                    TRAINERS, 2 * multiply_adds, tolerance=1e-2, goal=TRAINING,
                    native=TRAINED_NATIVELY)


def lstm(batch: int = 32, steps: int = 64, features: int = 128, units: int = 128) -> Workload:
    """Hochreiter and Schmidhuber's, gates in Keras's order i, f, c, o; its last state is judged."""
    arrays = {"kernel": floats(features, 4 * units, scale=sqrt(6 / (features + units))),
              "recurrent": floats(units, 4 * units, scale=sqrt(3 / units) / 2),
              "bias": floats(4 * units, scale=0.1), **dense("head", units, 10)}
    # The gradient of the features is nobody's; the recurrent product has both.
    multiply_adds = batch * steps * 4 * units * (2 * features + 3 * units) + 3 * batch * units * 10
    return Workload("LSTM training step", TOPIC, "lstm", {"checked_steps": 3},
                    {"x": floats(batch, steps, features), "y": labels(batch, classes=10), **arrays},
                    TRAINERS, 2 * multiply_adds, goal=TRAINING, native=TRAINED_NATIVELY)


def gpt(batch: int = 16, words: int = 64, width: int = 128, depth: int = 4, heads: int = 4,
        vocabulary: int = 96) -> Workload:
    """Norms before attention and MLP (Radford et al., 2019), GELU by tanh, AdamW."""
    arrays = {"embed": floats(vocabulary, width, scale=0.1),
              "positions": floats(words, width, scale=0.1)}
    for i in range(depth):
        arrays |= {**normalized(f"{i}.ln1", width), **dense(f"{i}.qkv", width, 3 * width),
                   **dense(f"{i}.out", width, width), **normalized(f"{i}.ln2", width),
                   **dense(f"{i}.up", width, 4 * width), **dense(f"{i}.down", 4 * width, width)}
    arrays |= {**normalized("ln", width), **dense("head", width, vocabulary)}
    of_a_word = depth * (12 * width ** 2 + 2 * words * width) + width * vocabulary
    return Workload("GPT training step", TOPIC, "gpt",
                    {"checked_steps": 3, "depth": depth, "heads": heads},
                    {"x": labels(batch, words, classes=vocabulary),
                     "y": labels(batch, words, classes=vocabulary), **arrays},
                    TRAINERS, 6 * batch * words * of_a_word, goal=TRAINING._replace(scaling=1.7),
                    native=TRAINED_NATIVELY)


GPT = gpt()
WORKLOADS = (MLP, LENET, resnet(), lstm(), GPT)
