"""ResNet-20, LSTM, GPT, MobileNetV2 and BERT in PyTorch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .numpy_programs import sample
from .torch_training import channels_first, load_weights, parameter_of, tensors, training

EPSILON = 1e-5


def dense(arrays, name):
    """A Linear layer; our weights are (in, out), PyTorch's are (out, in)."""
    w = arrays[f"{name}.w"]
    return load_weights(nn.Linear(*w.shape), weight=w.T, bias=arrays[f"{name}.b"])


def layer_norm(arrays, name):
    gamma, beta = arrays[f"{name}.gamma"], arrays[f"{name}.beta"]
    return load_weights(nn.LayerNorm(len(gamma), EPSILON), weight=gamma, bias=beta)


class ConvBatchNorm(nn.Module):
    """A convolution with TensorFlow's SAME padding, its batch norm and an activation."""

    def __init__(self, arrays, name, strides=1, activation=None):
        super().__init__()
        w, gamma = arrays[f"{name}.w"], arrays[f"{name}.gamma"]
        depthwise = w.shape[3] == 1
        groups, width = (w.shape[2], w.shape[2]) if depthwise else (1, w.shape[3])
        # With stride 2 and an even size, SAME pads one row at the end only; Conv2d cannot.
        self.pads_end = strides == 2 and w.shape[0] == 3
        self.convolution = load_weights(
            nn.Conv2d(w.shape[2], width, w.shape[0], strides,
                      padding=0 if self.pads_end else w.shape[0] // 2, groups=groups, bias=False),
            weight=w.transpose(2, 3, 0, 1) if depthwise else w.transpose(3, 2, 0, 1))
        moving = {} if f"{name}.mean" not in arrays else {
            "running_mean": arrays[f"{name}.mean"], "running_var": arrays[f"{name}.variance"]}
        self.norm = load_weights(nn.BatchNorm2d(width, EPSILON), weight=gamma,
                                 bias=arrays[f"{name}.beta"], **moving)
        self.activation = activation

    def forward(self, x):
        x = self.norm(self.convolution(F.pad(x, (0, 1, 0, 1)) if self.pads_end else x))
        return x if self.activation is None else self.activation(x)


class Residual(nn.Module):
    def __init__(self, arrays, name):
        super().__init__()
        changes_width = f"{name}.short.w" in arrays
        self.first = ConvBatchNorm(arrays, f"{name}.a", 2 if changes_width else 1, F.relu)
        self.second = ConvBatchNorm(arrays, f"{name}.b")
        self.short = ConvBatchNorm(arrays, f"{name}.short", 2) if changes_width else nn.Identity()

    def forward(self, x):
        return F.relu(self.second(self.first(x)) + self.short(x))


def pooled_head(arrays):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense(arrays, "head")]


def resnet(arrays, checked_steps):
    depth = sum(name.endswith(".a.w") for name in arrays)
    model = nn.Sequential(
        ConvBatchNorm(arrays, "stem", 1, F.relu), *(Residual(arrays, str(i)) for i in range(depth)),
        *pooled_head(arrays))
    x, y = tensors(arrays, "x", "y")
    return training(model, channels_first(x), y, checked_steps)


class InvertedResidual(nn.Module):
    def __init__(self, arrays, name, strides):
        super().__init__()
        expand = []
        if f"{name}.expand.w" in arrays:
            expand = [ConvBatchNorm(arrays, f"{name}.expand", 1, F.relu6)]
        self.branch = nn.Sequential(
            *expand, ConvBatchNorm(arrays, f"{name}.depthwise", strides, F.relu6),
            ConvBatchNorm(arrays, f"{name}.project"))

    def forward(self, x):
        h = self.branch(x)
        return h + x if h.shape == x.shape else h


def mobilenet(arrays, strides):
    model = nn.Sequential(
        ConvBatchNorm(arrays, "stem", 2, F.relu6),
        *(InvertedResidual(arrays, str(i), stride) for i, stride in enumerate(strides)),
        ConvBatchNorm(arrays, "last", 1, F.relu6), *pooled_head(arrays))
    x, = tensors(arrays, "x")
    return inference(model, channels_first(x))


def inference(model, x):
    model.eval()

    def call():
        with torch.inference_mode():
            return model(x)
    return call, lambda: sample(call())


class SequenceClassifier(nn.Module):
    """PyTorch's LSTM also has gates in the order i, f, c, o; its second bias is zero here."""

    def __init__(self, arrays):
        super().__init__()
        kernel, bias = arrays["kernel"], arrays["bias"]
        self.lstm = load_weights(
            nn.LSTM(kernel.shape[0], kernel.shape[1] // 4, batch_first=True),
            weight_ih_l0=kernel.T, weight_hh_l0=arrays["recurrent"].T, bias_ih_l0=bias,
            bias_hh_l0=0 * bias)
        self.lstm.bias_hh_l0.requires_grad_(False)
        self.head = dense(arrays, "head")

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def lstm(arrays, checked_steps):
    return training(SequenceClassifier(arrays), *tensors(arrays, "x", "y"), checked_steps)


def attention(q, k, v, heads, causal):
    """Multi-head attention of (batch, tokens, width) tensors; a head has width / heads columns."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    context = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return context.transpose(1, 2).flatten(2)


class Block(nn.Module):
    def __init__(self, arrays, name, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = (layer_norm(arrays, f"{name}.ln{i}") for i in (1, 2))
        self.qkv, self.out, self.up, self.down = (
            dense(arrays, f"{name}.{layer}") for layer in ("qkv", "out", "up", "down"))

    def forward(self, x):
        q, k, v = self.qkv(self.ln1(x)).chunk(3, -1)
        x = x + self.out(attention(q, k, v, self.heads, causal=True))
        return x + self.down(F.gelu(self.up(self.ln2(x)), approximate="tanh"))


class Embeddings(nn.Module):
    """The sum of token and position embeddings."""

    def __init__(self, arrays):
        super().__init__()
        self.tokens = load_weights(nn.Embedding(*arrays["embed"].shape), weight=arrays["embed"])
        self.positions = parameter_of(arrays["positions"])

    def forward(self, tokens):
        return self.tokens(tokens) + self.positions


def gpt(arrays, checked_steps, depth, heads):
    model = nn.Sequential(
        Embeddings(arrays), *(Block(arrays, str(i), heads) for i in range(depth)),
        layer_norm(arrays, "ln"), dense(arrays, "head"))
    return training(model, *tensors(arrays, "x", "y"), checked_steps, decay=0.004)


class Encoder(nn.Module):
    def __init__(self, arrays, name, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = (layer_norm(arrays, f"{name}.ln{i}") for i in (1, 2))
        self.q, self.k, self.v, self.out, self.up, self.down = (
            dense(arrays, f"{name}.{layer}") for layer in ("q", "k", "v", "out", "up", "down"))

    def forward(self, x):
        x = self.ln1(x + self.out(attention(self.q(x), self.k(x), self.v(x), self.heads, False)))
        return self.ln2(x + self.down(F.gelu(self.up(x))))


def bert(arrays, depth, heads):
    model = nn.Sequential(Embeddings(arrays), layer_norm(arrays, "ln"),
                          *(Encoder(arrays, str(i), heads) for i in range(depth)))
    x, = tensors(arrays, "x")
    return inference(model, x)


PROGRAMS = {"resnet": resnet, "mobilenet": mobilenet, "lstm": lstm, "gpt": gpt, "bert": bert}
