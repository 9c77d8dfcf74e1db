"""Kernel signatures: equal for kernels that differ in their buffers' addresses alone.

The layers of a model, and the optimizer's updates of equal weights, give kernels of equal
signatures. Such kernels share one generated function, and the decisions of expensive passes.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..base.value_keys import value_key
from .graph import Atom
from .kernels import (ElementwiseOp, FiniteCheckStore, IndexValue, KernelCall, Load, LoopKernel,
                     ReduceOp, ScalarConstant, Value)


@dataclass(frozen=True)
class KernelSignature:
    """`key` describes a kernel with its buffers numbered; `buffers[i]` is buffer i of this one."""

    key: tuple[Any, ...]
    buffers: tuple[Atom, ...]


class _BufferNumbers:
    """Numbers buffers in the order of their first use."""

    def __init__(self):
        self.numbers: dict[Atom, int] = {}

    def __call__(self, atom: Atom) -> int:
        return self.numbers.setdefault(atom, len(self.numbers))

    def specs(self) -> tuple:
        return tuple((atom.spec.dtype.name, atom.spec.count) for atom in self.numbers)


def kernel_signature(kernel: LoopKernel | KernelCall) -> KernelSignature:
    return loop_signature(kernel) if isinstance(kernel, LoopKernel) else call_signature(kernel)


def loop_signature(loop: LoopKernel) -> KernelSignature:
    """The signature of a loop kernel or an epilogue."""
    found = loop.__dict__.get("_signature")
    if found is None:
        number = _BufferNumbers()
        key = _loop_key(loop, number)
        found = KernelSignature((key, number.specs()), tuple(number.numbers))
        loop.__dict__["_signature"] = found
    return found


def call_signature(call: KernelCall) -> KernelSignature:
    """The signature of a kernel call with its epilogue."""
    number = _BufferNumbers()
    args, outs = tuple(map(number, call.args)), tuple(map(number, call.outs))
    epilogue = _loop_key(call.epilogue, number) if call.epilogue else None
    key = (call.kernel, args, outs, value_key(call.params), tuple(call.operand_dtypes), epilogue,
           call.result_escapes, call.result_materialized, number.specs())
    return KernelSignature(key, tuple(number.numbers))


def _loop_key(loop: LoopKernel, number: Callable[[Atom], int]) -> tuple:
    passes = tuple((tuple(_value_key(v, number) for v in p.elementwise),
                    tuple(_value_key(v, number) for v in p.post_reduce)) for p in loop.passes)
    stores = tuple((type(s) is FiniteCheckStore, s.value, number(s.target), s.view)
                   for s in loop.stores)
    return loop.iteration_space, loop.reduction_axes, passes, stores


def _value_key(value: Value, number: Callable[[Atom], int]) -> tuple:
    match value:
        case ElementwiseOp(expression, args, dtype):
            return expression, args, dtype.name
        case Load(source, view, dtype):
            return number(source), view, dtype.name
        case ScalarConstant(constant, dtype):
            return "constant", value_key(constant), dtype.name
        case ReduceOp(arg, reduction, dtype):
            return "reduce", arg, reduction, dtype.name
        case IndexValue(strides, offset, dtype):
            return "index", strides, offset, dtype.name
    raise AssertionError(f"{value} is not a value")
