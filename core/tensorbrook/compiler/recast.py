"""What is only the cast of a buffer from or to float16 is not written: who reads it casts.

A cast costs next to nothing where an element is loaded anyway, and a buffer of casts costs memory
and its traffic, and often a kernel of its own: that of a bias to what its layer computes in, that
of a gradient to what its weight is. So a Load may have another floating dtype than its source.
"""
from collections.abc import Iterator
from dataclasses import replace

from ..ir import Apply, Atom, Call, Kernel, Limits, Load, Loop, Stage, Var

# From as many elements on, several readers of a cast to float16 read it from memory: each reads
# half as much then. An estimate.
LARGE = 1 << 16


def without_casts(kernels: list[Kernel], outputs: list[Var], limits: Limits) -> list[Kernel]:
    """The kernels without those casts that loops alone read, where there is float16."""
    if limits.halves is None:
        return kernels
    found = {t: u for k in kernels for t, u in _casts(k)}
    readers: dict[Atom, int] = {}
    for k in kernels:
        for atom in k.reads:
            readers[atom] = readers.get(atom, 0) + 1
    needed = {*outputs, *(a for k in kernels for a in _not_loaded(k))}
    gone = {t: u for t, u in found.items() if t not in needed
            and (t.spec.dtype.size > 2 or readers.get(t, 0) == 1 or t.spec.count < LARGE)}
    # A cast of a cast is read from what is there.
    gone = {t: u for t, u in gone.items() if u not in gone}
    changed = [_reading(k, gone) for k in kernels]
    return [k for k in changed if not isinstance(k, Loop) or k.stores]


def _casts(k: Kernel) -> Iterator[tuple[Var, Atom]]:
    """What a kernel stores that is, element by element, the cast of a buffer, and this buffer; or
    the cast to float32 of its own result, which is shorter."""
    loop = k if isinstance(k, Loop) else k.epilogue if isinstance(k, Call) else None
    for s in loop.stores if loop else ():
        value = loop.values[s.value]
        if isinstance(k, Call) and s.target.spec.dtype.size == 2:
            continue
        if isinstance(value, Apply) and value.formula == "cast(x)":
            load = loop.values[value.args[0]]
            if isinstance(load, Load) and load.view == s.view and s.view.contiguous \
                    and _in_halves(load.source, s.target):
                yield s.target, load.source


def _in_halves(source: Atom, target: Var) -> bool:
    dtypes = {source.spec.dtype.name, target.spec.dtype.name}
    return dtypes == {"float16", "float32"} and source.spec.count == target.spec.count


def _not_loaded(k: Kernel) -> Iterator[Atom]:
    """What a kernel reads otherwise than by loads."""
    if not isinstance(k, Loop):
        yield from k.args if isinstance(k, Call) else k.reads


def _reading(k: Kernel, gone: dict[Var, Atom]) -> Kernel:
    """The kernel with loads of what is there, and without stores of what goes."""
    if isinstance(k, Call) and k.epilogue:
        kept = k.kept or any(gone.get(t) in k.outs for t in k.epilogue.writes)
        after = _reading(k.epilogue, gone)
        return replace(k, epilogue=after if after.stores else None, kept=kept)
    if not isinstance(k, Loop) or gone.keys().isdisjoint((*k.reads, *k.writes)):
        return k

    def there(value):
        reads = isinstance(value, Load) and value.source in gone
        return Load(gone[value.source], value.view, value.dtype) if reads else value

    stages = tuple(Stage(tuple(map(there, s.body)), tuple(map(there, s.tail))) for s in k.stages)
    return replace(k, stages=stages, stores=tuple(s for s in k.stores if s.target not in gone))


