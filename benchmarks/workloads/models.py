"""Whole training steps, and inference: networks of the sizes that people teach and serve with."""

from __future__ import annotations

from collections.abc import Sequence

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

WORKLOADS = (MLP, LENET)
