"""How much a kernel does: what printed plans and profiles tell beside its time."""
from math import prod

from .kernel import ElementwiseOp, KernelCall, Kernel, LoopKernel, ReduceOp, ScanKernel


def flops(k: Kernel) -> int:
    """Arithmetic operations: two for each multiply-add of a product, and one for each formula, or
    element folded, of a loop."""
    if isinstance(k, ScanKernel):
        return k.count * sum(map(flops, k.kernels))
    if isinstance(k, KernelCall):
        return k.flops + (flops(k.epilogue) if k.epilogue else 0)
    return _loop_flops(k)


def _loop_flops(loop: LoopKernel) -> int:
    inner, outer = prod(loop.iteration_space), prod(loop.reduced_space)
    body = sum(isinstance(v, ElementwiseOp) and v.formula != "x" for s in loop.passes for v in s.elementwise)
    tail = [v for s in loop.passes for v in s.post_reduce]
    folds, late = (sum(isinstance(v, kind) for v in tail) for kind in (ReduceOp, ElementwiseOp))
    return inner * (body + folds) + outer * late


def bytes_moved(k: Kernel) -> int:
    """The bytes of all buffers that it reads or writes, each once: what memory must move at least
    if nothing is in cache."""
    if isinstance(k, ScanKernel):
        return k.count * sum(map(bytes_moved, k.kernels))
    return sum(a.spec.size_bytes for a in (*k.reads, *k.writes))


def format_si(n: float, unit: str) -> str:
    """A number with a prefix: `amount(3210000, "B") == "3.21 MB"`."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= factor:
            return f"{n / factor:.3g} {prefix}{unit}"
    return f"{n:.0f} {unit}"
