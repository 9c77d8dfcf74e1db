"""Memory-bound operations: elementwise, normalization, losses, an optimizer's update."""

from __future__ import annotations

from .spec import (
    FORWARD, GRADIENT, JAX_CPU, NUMPY, OURS, TORCH, Target, Workload, floats, labels, size_bytes,
)

TOPIC = "Memory-bound operations"
FIVE_TIMES, NEAR_COPY = Target(jax=5), Target(jax=5, copied=0.8)
X, Y, G = floats(1024, 1024, scale=3), floats(1024, 1024), floats(1024, 1024)
IMAGES = floats(32, 32, 32, 16)


def elementwise(operation: str, target: Target = FIVE_TIMES, native=()) -> Workload:
    inputs = {"x": X, "y": Y} if operation in ("add", "chain") else {"x": X}
    return Workload(f"{operation}, 1 M", TOPIC, "elementwise", {"operation": operation}, inputs,
                    moved_bytes=size_bytes(X, *inputs.values()), tolerance=2e-3, target=target,
                    native=native)


def norm(name: str, axes: list[int], x: dict, gradients: bool, target: Target) -> Workload:
    """Mean 0 and variance 1 over `axes`, then a scale and an offset for each of the last axis."""
    width = x["shape"][-1]
    arrays = {"x": x, "gamma": floats(width, scale=0.5, offset=1.0), "beta": floats(width)}
    if gradients:
        arrays["g"] = floats(*x["shape"])
    return Workload(name, TOPIC, "norm", {"axes": axes, "gradients": gradients}, arrays,
                    GRADIENT if gradients else FORWARD,
                    moved_bytes=(4 if gradients else 2) * size_bytes(x), tolerance=2e-3,
                    target=target)


LOGITS = floats(1024, 1000, scale=3)
CROSS_ENTROPY = Workload(
    "cross entropy and gradient, 1024x1000", TOPIC, "cross_entropy", {},
    {"logits": LOGITS, "labels": labels(1024, classes=1000)}, GRADIENT,
    moved_bytes=2 * size_bytes(LOGITS), target=FIVE_TIMES, native=(OURS, JAX_CPU, TORCH))

# Reads the parameters, their gradients and both moments; writes all but the gradients.
ADAMW = Workload(
    "AdamW update, 1 M parameters", TOPIC, "adamw", {}, {"p": Y, "g": G}, GRADIENT,
    moved_bytes=7 * size_bytes(Y), target=NEAR_COPY, native=(OURS, JAX_CPU, TORCH))

NATIVE = (OURS, NUMPY, JAX_CPU, TORCH)
WORKLOADS = (
    elementwise("add", Target(copied=0.8), NATIVE), *map(elementwise, ("exp", "tanh")),
    elementwise("gelu", native=NATIVE), elementwise("softmax", native=NATIVE),
    elementwise("chain"),
    norm("layer norm, 1 M", [-1], X, False, NEAR_COPY),
    norm("layer norm and gradients, 1 M", [-1], X, True, NEAR_COPY),
    norm("batch norm and gradients, 32x32x32x16", [0, 1, 2], IMAGES, True, NEAR_COPY),
    CROSS_ENTROPY, ADAMW,
)
