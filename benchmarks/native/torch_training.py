"""Training steps in PyTorch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def tensors(arrays, *names):
    """Tensors on PyTorch's default device."""
    return [torch.from_numpy(arrays[name]).to(torch.get_default_device()) for name in names]


def load_weights(layer: nn.Module, **values) -> nn.Module:
    """Copy these values into the layer's parameters and buffers; returns the layer."""
    with torch.no_grad():
        for name, value in values.items():
            layer.state_dict()[name].copy_(torch.from_numpy(value.copy()))
    return layer


def parameter_of(array) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(array.copy()).to(torch.get_default_device()))


def channels_first(images):
    """Images from NHWC to NCHW."""
    return images.permute(0, 3, 1, 2).contiguous()


def adamw_of(parameters, decay: float = 0.0):
    """PyTorch's fastest AdamW: one fused kernel over all parameters."""
    return torch.optim.AdamW(parameters, lr=0.001, eps=1e-7, weight_decay=decay, fused=True)


def cross_entropy(logits, labels):
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten().long())


def training(model: nn.Module, x, y, checked_steps: int, decay: float = 0.0):
    """Training steps of a network that maps x to logits, with labels y."""
    optimizer = adamw_of(model.parameters(), decay)

    def step():
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()
    return step, lambda: [step().item() for _ in range(checked_steps)]
