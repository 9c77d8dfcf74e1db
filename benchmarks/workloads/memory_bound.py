"""What passes over its data once or a few times: elements, rows, losses, an optimizer's update."""

from __future__ import annotations

from .spec import JAX, JAX_CPU, NUMPY, OURS, PURE, TFJS, TORCH, Goal, Workload, floats, labels
from .spec import size_bytes

TOPIC = "Streams"
FIVE_TIMES, STREAMING = Goal(jax=5), Goal(jax=5, copied=0.8)
X, Y, G = floats(1024, 1024, scale=3), floats(1024, 1024), floats(1024, 1024)
IMAGES = floats(32, 32, 32, 16)


def elementwise(operation: str, goal: Goal = FIVE_TIMES, native=()) -> Workload:
    used = {"x": X, "y": Y} if operation in ("add", "chain") else {"x": X}
    return Workload(f"{operation}, 1 M", TOPIC, "elementwise", {"operation": operation}, used,
                    moved_bytes=size_bytes(X, *used.values()), tolerance=2e-3, goal=goal,
                    native=native)


def norm(name: str, axes: list[int], x: dict, gradients: bool, goal: Goal) -> Workload:
    """Mean 0 and variance 1 over `axes`, then a scale and an offset for each of the last axis."""
    width = x["shape"][-1]
    arrays = {"x": x, "gamma": floats(width, scale=0.5, offset=1.0), "beta": floats(width)}
    if gradients:
        arrays["g"] = floats(*x["shape"])
    return Workload(name, TOPIC, "norm", {"axes": axes, "gradients": gradients}, arrays,
                    (OURS, JAX, TFJS) if gradients else PURE,
                    moved_bytes=(4 if gradients else 2) * size_bytes(x), tolerance=2e-3, goal=goal)


LOGITS = floats(1024, 1000, scale=3)
CROSS_ENTROPY = Workload(
    "cross entropy and gradient, 1024x1000", TOPIC, "cross_entropy", {},
    {"logits": LOGITS, "labels": labels(1024, classes=1000)}, (OURS, JAX, TFJS),
    moved_bytes=2 * size_bytes(LOGITS), goal=FIVE_TIMES, native=(OURS, JAX_CPU, TORCH))

# Reads the parameters, their gradients and both means; writes all but the gradients.
ADAMW = Workload(
    "AdamW update, 1 M parameters", TOPIC, "adamw", {}, {"p": Y, "g": G}, (OURS, JAX, TFJS),
    moved_bytes=7 * size_bytes(Y), goal=STREAMING, native=(OURS, JAX_CPU, TORCH))

NATIVELY = (OURS, NUMPY, JAX_CPU, TORCH)
WORKLOADS = (
    elementwise("add", Goal(copied=0.8), NATIVELY), *map(elementwise, ("exp", "tanh")),
    elementwise("gelu", native=NATIVELY), elementwise("softmax", native=NATIVELY),
    elementwise("chain"),
    norm("layer norm, 1 M", [-1], X, False, STREAMING),
    norm("layer norm and gradients, 1 M", [-1], X, True, STREAMING),
    norm("batch norm and gradients, 32x32x32x16", [0, 1, 2], IMAGES, True, STREAMING),
    CROSS_ENTROPY, ADAMW,
)
