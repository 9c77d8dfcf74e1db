"""The native workloads in NumPy, with OpenBLAS for matrix products."""

from __future__ import annotations

import numpy as np

from ..ours.correctness_samples import strided_sample


def gemm(arrays, transpose_a, transpose_b):
    a = arrays["a"].swapaxes(-1, -2) if transpose_a else arrays["a"]
    b = arrays["b"].swapaxes(-1, -2) if transpose_b else arrays["b"]
    return lambda: a @ b, lambda: sample(a @ b)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gelu(x):
    half = np.float32(0.5) * x
    return half * (1 + np.tanh(np.float32(0.7978845608) * (x + np.float32(0.044715) * x ** 3)))


OPERATIONS = {"add": np.add, "gelu": gelu, "softmax": softmax}


def elementwise(arrays, operation):
    f, inputs = OPERATIONS[operation], tuple(arrays.values())
    return lambda: f(*inputs), lambda: sample(f(*inputs))


def sample(out) -> list[float]:
    return strided_sample(np.asarray(out).ravel()).tolist()


def mlp(arrays, checked_steps):
    """Three dense layers, their gradients and Adam, written by hand."""
    count = len(arrays) // 2
    weights, biases = ([arrays[f"{kind}{i}"].copy() for i in range(1, count)] for kind in "wb")
    optimizer = Adam([*weights, *biases])

    def step() -> float:
        loss, gradients = backward(arrays["x"], arrays["y"], weights, biases)
        optimizer.apply(gradients)
        return loss
    return step, lambda: [float(step()) for _ in range(checked_steps)]


def backward(x, y, weights, biases):
    """The loss, then the gradients of all weights and of all biases."""
    inputs = [x]
    for w, b in zip(weights[:-1], biases[:-1]):
        inputs.append(np.maximum(inputs[-1] @ w + b, 0))
    logits = inputs[-1] @ weights[-1] + biases[-1]
    logits -= logits.max(1, keepdims=True)
    log_softmax = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    rows = np.arange(len(y))
    g = np.exp(log_softmax)
    g[rows, y] -= 1
    g /= np.float32(len(y))
    weight_grads, bias_grads = [], []
    for h, w in zip(inputs[::-1], weights[::-1]):
        weight_grads.insert(0, h.T @ g)
        bias_grads.insert(0, g.sum(0))
        if h is not x:
            g = (g @ w.T) * (h > 0)
    return -log_softmax[rows, y].mean(), [*weight_grads, *bias_grads]


class Adam:
    def __init__(self, parameters):
        self.parameters, self.t = parameters, 0
        self.means = [np.zeros_like(p) for p in parameters]
        self.squares = [np.zeros_like(p) for p in parameters]

    def apply(self, gradients):
        self.t += 1
        rate = np.float32(0.001 * (1 - 0.999 ** self.t) ** 0.5 / (1 - 0.9 ** self.t))
        for p, m, v, g in zip(self.parameters, self.means, self.squares, gradients):
            m += (g - m) * np.float32(0.1)
            v += (g * g - v) * np.float32(0.001)
            p -= rate * m / (np.sqrt(v) + np.float32(1e-7))


PROGRAMS = {"gemm": gemm, "elementwise": elementwise, "mlp": mlp}
