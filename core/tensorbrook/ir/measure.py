"""How much a kernel does: what printed plans and profiles tell beside its time."""
from math import prod

from .kernel import Apply, Call, Kernel, Loop, Reduced, Repeat


def operations(k: Kernel) -> int:
    """Arithmetic operations: two for each multiply-add of a product, and one for each formula, or
    element folded, of a loop."""
    if isinstance(k, Repeat):
        return k.count * sum(map(operations, k.kernels))
    if isinstance(k, Call):
        return k.work + (operations(k.epilogue) if k.epilogue else 0)
    return _of_loop(k)


def _of_loop(loop: Loop) -> int:
    inner, outer = prod(loop.space), prod(loop.outer)
    body = sum(isinstance(v, Apply) and v.formula != "x" for s in loop.stages for v in s.body)
    tail = [v for s in loop.stages for v in s.tail]
    folds, late = (sum(isinstance(v, kind) for v in tail) for kind in (Reduced, Apply))
    return inner * (body + folds) + outer * late


def bytes_moved(k: Kernel) -> int:
    """The bytes of all buffers that it reads or writes, each once: what memory must move at least
    if nothing is in cache."""
    if isinstance(k, Repeat):
        return k.count * sum(map(bytes_moved, k.kernels))
    return sum(a.spec.size_bytes for a in (*k.reads, *k.writes))


def amount(n: float, unit: str) -> str:
    """A number with a prefix: `amount(3210000, "B") == "3.21 MB"`."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= factor:
            return f"{n / factor:.3g} {prefix}{unit}"
    return f"{n:.0f} {unit}"
