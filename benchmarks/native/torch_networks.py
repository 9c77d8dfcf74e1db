"""ResNet-20, an LSTM, a GPT, MobileNetV2 and a BERT in PyTorch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .numpy_programs import sample
from .torch_training import channels_first, held, parameter_of, tensors, training

EPSILON = 1e-5


def dense(arrays, name):
    """Our weights are (in, out), PyTorch's (out, in)."""
    w = arrays[f"{name}.w"]
    return held(nn.Linear(*w.shape), weight=w.T, bias=arrays[f"{name}.b"])


def layer_norm(arrays, name):
    gamma, beta = arrays[f"{name}.gamma"], arrays[f"{name}.beta"]
    return held(nn.LayerNorm(len(gamma), EPSILON), weight=gamma, bias=beta)


class Unit(nn.Module):
    """A convolution, padded as "same" is elsewhere, its batch norm and an activation."""

    def __init__(self, arrays, name, strides=1, activation=None):
        super().__init__()
        w, gamma = arrays[f"{name}.w"], arrays[f"{name}.gamma"]
        depthwise = w.shape[3] == 1
        groups, width = (w.shape[2], w.shape[2]) if depthwise else (1, w.shape[3])
        # With a stride of 2 the odd row of an even side comes at the end, which Conv2d cannot.
        self.padded = strides == 2 and w.shape[0] == 3
        self.convolution = held(
            nn.Conv2d(w.shape[2], width, w.shape[0], strides, 0 if self.padded else w.shape[0] // 2,
                      groups=groups, bias=False),
            weight=w.transpose(2, 3, 0, 1) if depthwise else w.transpose(3, 2, 0, 1))
        trained = {} if f"{name}.mean" not in arrays else {
            "running_mean": arrays[f"{name}.mean"], "running_var": arrays[f"{name}.variance"]}
        self.norm = held(nn.BatchNorm2d(width, EPSILON), weight=gamma, bias=arrays[f"{name}.beta"],
                         **trained)
        self.activation = activation

    def forward(self, x):
        x = self.norm(self.convolution(F.pad(x, (0, 1, 0, 1)) if self.padded else x))
        return x if self.activation is None else self.activation(x)


class Residual(nn.Module):
    def __init__(self, arrays, name):
        super().__init__()
        changes = f"{name}.short.w" in arrays
        self.first = Unit(arrays, f"{name}.a", 2 if changes else 1, F.relu)
        self.second = Unit(arrays, f"{name}.b")
        self.short = Unit(arrays, f"{name}.short", 2) if changes else nn.Identity()

    def forward(self, x):
        return F.relu(self.second(self.first(x)) + self.short(x))


def pooled_head(arrays):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense(arrays, "head")]


def resnet(arrays, checked_steps):
    depth = sum(name.endswith(".a.w") for name in arrays)
    model = nn.Sequential(
        Unit(arrays, "stem", 1, F.relu), *(Residual(arrays, str(i)) for i in range(depth)),
        *pooled_head(arrays))
    x, y = tensors(arrays, "x", "y")
    return training(model, channels_first(x), y, checked_steps)


class Inverted(nn.Module):
    def __init__(self, arrays, name, strides):
        super().__init__()
        wide = [Unit(arrays, f"{name}.expand", 1, F.relu6)] if f"{name}.expand.w" in arrays else []
        self.within = nn.Sequential(*wide, Unit(arrays, f"{name}.depthwise", strides, F.relu6),
                                    Unit(arrays, f"{name}.project"))

    def forward(self, x):
        h = self.within(x)
        return h + x if h.shape == x.shape else h


def mobilenet(arrays, strides):
    model = nn.Sequential(
        Unit(arrays, "stem", 2, F.relu6),
        *(Inverted(arrays, str(i), stride) for i, stride in enumerate(strides)),
        Unit(arrays, "last", 1, F.relu6), *pooled_head(arrays))
    x, = tensors(arrays, "x")
    return inference(model, channels_first(x))


def inference(model, x):
    model.eval()

    def call():
        with torch.inference_mode():
            return model(x)
    return call, lambda: sample(call())


class Reader(nn.Module):
    """PyTorch's gates stand in the order i, f, c, o too, and it has a second bias."""

    def __init__(self, arrays):
        super().__init__()
        kernel, bias = arrays["kernel"], arrays["bias"]
        self.read = held(
            nn.LSTM(kernel.shape[0], kernel.shape[1] // 4, batch_first=True),
            weight_ih_l0=kernel.T, weight_hh_l0=arrays["recurrent"].T, bias_ih_l0=bias,
            bias_hh_l0=0 * bias)
        self.read.bias_hh_l0.requires_grad_(False)
        self.head = dense(arrays, "head")

    def forward(self, x):
        return self.head(self.read(x)[0][:, -1])


def lstm(arrays, checked_steps):
    return training(Reader(arrays), *tensors(arrays, "x", "y"), checked_steps)


def attention(q, k, v, heads, causal):
    """Of (batch, words, width), each head its share of the width."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return mixed.transpose(1, 2).flatten(2)


class Block(nn.Module):
    def __init__(self, arrays, name, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = (layer_norm(arrays, f"{name}.ln{i}") for i in (1, 2))
        self.qkv, self.out, self.up, self.down = (
            dense(arrays, f"{name}.{part}") for part in ("qkv", "out", "up", "down"))

    def forward(self, x):
        q, k, v = self.qkv(self.ln1(x)).chunk(3, -1)
        x = x + self.out(attention(q, k, v, self.heads, causal=True))
        return x + self.down(F.gelu(self.up(self.ln2(x)), approximate="tanh"))


class Embedded(nn.Module):
    """The words' rows, and those of their places."""

    def __init__(self, arrays):
        super().__init__()
        self.words = held(nn.Embedding(*arrays["embed"].shape), weight=arrays["embed"])
        self.positions = parameter_of(arrays["positions"])

    def forward(self, words):
        return self.words(words) + self.positions


def gpt(arrays, checked_steps, depth, heads):
    model = nn.Sequential(
        Embedded(arrays), *(Block(arrays, str(i), heads) for i in range(depth)),
        layer_norm(arrays, "ln"), dense(arrays, "head"))
    return training(model, *tensors(arrays, "x", "y"), checked_steps, decay=0.004)


class Encoder(nn.Module):
    def __init__(self, arrays, name, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = (layer_norm(arrays, f"{name}.ln{i}") for i in (1, 2))
        self.q, self.k, self.v, self.out, self.up, self.down = (
            dense(arrays, f"{name}.{part}") for part in ("q", "k", "v", "out", "up", "down"))

    def forward(self, x):
        x = self.ln1(x + self.out(attention(self.q(x), self.k(x), self.v(x), self.heads, False)))
        return self.ln2(x + self.down(F.gelu(self.up(x))))


def bert(arrays, depth, heads):
    model = nn.Sequential(Embedded(arrays), layer_norm(arrays, "ln"),
                          *(Encoder(arrays, str(i), heads) for i in range(depth)))
    x, = tensors(arrays, "x")
    return inference(model, x)


PROGRAMS = {"resnet": resnet, "mobilenet": mobilenet, "lstm": lstm, "gpt": gpt, "bert": bert}
