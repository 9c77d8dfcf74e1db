"""Kernel statistics: FLOP and memory traffic of a kernel, for printed plans and profiles."""
from math import prod

from .kernels import ElementwiseOp, Kernel, KernelCall, LoopKernel, ReduceOp, ScanKernel


def flops(k: Kernel) -> int:
    """Arithmetic operations; an elementwise operation or a reduced element of a loop is one."""
    if isinstance(k, ScanKernel):
        return k.count * sum(map(flops, k.kernels))
    if isinstance(k, KernelCall):
        return k.flops + (flops(k.epilogue) if k.epilogue else 0)
    return _loop_flops(k)


def _loop_flops(loop: LoopKernel) -> int:
    elementwise = [v for p in loop.passes for v in p.elementwise]
    post_reduce = [v for p in loop.passes for v in p.post_reduce]
    per_index = sum(isinstance(v, ElementwiseOp) and not v.expression.is_identity
                    for v in elementwise)
    per_index += sum(isinstance(v, ReduceOp) for v in post_reduce)
    per_row = sum(isinstance(v, ElementwiseOp) for v in post_reduce)
    return prod(loop.iteration_space) * per_index + prod(loop.reduced_space) * per_row


def bytes_moved(k: Kernel) -> int:
    """The total size of the buffers that a kernel reads or writes."""
    if isinstance(k, ScanKernel):
        return k.count * sum(map(bytes_moved, k.kernels))
    return sum(a.spec.size_bytes for a in (*k.reads, *k.writes))


def format_si(n: float, unit: str) -> str:
    """A quantity with an SI prefix: `format_si(3210000, "B") == "3.21 MB"`."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= factor:
            return f"{n / factor:.3g} {prefix}{unit}"
    return f"{n:.0f} {unit}"
