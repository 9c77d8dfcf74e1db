"""The native workloads in eager PyTorch, written as in its tutorials."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from . import torch_networks
from .numpy_programs import sample
from .torch_training import adamw_of, channels_first, load_weights, tensors, training


def set_threads(count: int) -> None:
    torch.set_num_threads(count)


def pure(f, *inputs):
    """A pure function; its check samples each result."""
    def call():
        with torch.no_grad():
            return f(*inputs)

    def check():
        outs = call()
        return [each for out in (outs if isinstance(outs, tuple) else (outs,))
                for each in sample(out.detach())]
    return call, check


def gemm(arrays, transpose_a, transpose_b):
    a, b = tensors(arrays, "a", "b")
    return pure(torch.matmul, a.mT if transpose_a else a, b.mT if transpose_b else b)


OPERATIONS = {"add": torch.add, "gelu": lambda x: F.gelu(x, approximate="tanh"),
              "softmax": lambda x: torch.softmax(x, -1)}


def elementwise(arrays, operation):
    return pure(OPERATIONS[operation], *tensors(arrays, *arrays))


def cross_entropy_gradient(arrays):
    logits, labels = tensors(arrays, "logits", "labels")
    logits.requires_grad_()

    def step():
        logits.grad = None
        loss = F.cross_entropy(logits, labels.long())
        loss.backward()
        return loss.detach(), logits.grad
    return step, lambda: [each for out in step() for each in sample(out)]


def adamw(arrays):
    p, g = tensors(arrays, "p", "g")
    parameter = nn.Parameter(p.clone())
    parameter.grad = g
    optimizer = adamw_of([parameter], 0.004)

    def check():
        optimizer.step()
        optimizer.step()
        return sample(parameter.detach())
    return optimizer.step, check


def linear(w, b):
    """A Linear layer with these initial weights, which PyTorch stores transposed."""
    layer = nn.Linear(*w.shape)
    return load_weights(layer, weight=w.T, bias=b)


def convolution(w, b=None, **options):
    """A convolution with this initial filter, (height, width, in, out)."""
    layer = nn.Conv2d(w.shape[2] * options.get("groups", 1), w.shape[3], w.shape[:2],
                      bias=b is not None, **options)
    bias = {"bias": b} if b is not None else {}
    return load_weights(layer, weight=w.transpose(3, 2, 0, 1), **bias)


def dense(arrays, first, last):
    layers = [linear(arrays[f"w{i}"], arrays[f"b{i}"]) for i in range(first, last + 1)]
    return [module for layer in layers for module in (layer, nn.ReLU())][:-1]


def mlp(arrays, checked_steps):
    model = nn.Sequential(*dense(arrays, 1, 3))
    return training(model, *tensors(arrays, "x", "y"), checked_steps)


def lenet(arrays, checked_steps):
    """LeNet with channels first, so w3 has its rows in another order."""
    features = [module for i in (1, 2) for module in (
        convolution(arrays[f"w{i}"], arrays[f"b{i}"]), nn.ReLU(), nn.MaxPool2d(2))]
    flat = arrays["w3"].reshape(4, 4, 16, 120).transpose(2, 0, 1, 3).reshape(256, 120)
    model = nn.Sequential(*features, nn.Flatten(), *dense(arrays | {"w3": flat}, 3, 5))
    x, y = tensors(arrays, "x", "y")
    return training(model, channels_first(x), y, checked_steps)


PROGRAMS = {"gemm": gemm, "elementwise": elementwise, "cross_entropy": cross_entropy_gradient,
            "adamw": adamw, "mlp": mlp, "lenet": lenet, **torch_networks.PROGRAMS}
