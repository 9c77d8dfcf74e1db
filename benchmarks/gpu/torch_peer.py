"""The GPU workloads in eager PyTorch, in float32 without TF32."""

from __future__ import annotations

import torch

from ..native import torch_programs
from ..native.numpy_programs import sample
from ..native.torch_training import tensors

OPERATIONS = {"add": torch.add, "relu": torch.relu, "scale": lambda x: x * 3.0}


def products(arrays, count):
    def power(x, w):
        for _ in range(count):
            x = x @ w
        return x

    return with_check(power, arrays)


def memory_bound(arrays, operation):
    return with_check(OPERATIONS[operation], arrays)


def with_check(f, arrays):
    inputs = tensors(arrays, *arrays)

    def call():
        with torch.no_grad():
            return f(*inputs)
    return call, lambda: sample(call().cpu())


class Torch:
    """PyTorch on "cuda", or on "cpu" to see that the programs agree."""

    PROGRAMS = {**torch_programs.PROGRAMS, "products": products, "memory_bound": memory_bound}

    def __init__(self, device: str):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.set_default_device(device)
        self.device = device

    def program(self, family, arrays, options):
        """A step, and its check."""
        return self.PROGRAMS[family](arrays, **options)

    def wait(self) -> None:
        """Wait until the device is idle."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def describe(device: str) -> str:
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return f"PyTorch {torch.__version__} on {name}"


def unavailable_reason(device: str) -> str | None:
    """Why PyTorch cannot use this device, or None."""
    if device == "cuda" and not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} finds no CUDA device"
    return None
