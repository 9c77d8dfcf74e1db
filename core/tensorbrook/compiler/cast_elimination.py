"""What is only a cast from or to float16 is not written: who reads it casts.

A cast costs next to nothing where an element is loaded anyway, and a buffer of casts costs memory
and its traffic, and often a kernel of its own. So a Load may have another floating dtype than its
source: of a bias that is added in float16 as it is, of a gradient that comes in float16 and is
float32 for the optimizer, of a result in float16 that a layer goes on with in float32.
"""
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from ..base import dtypes
from ..ir import (ElementwiseOp, Atom, KernelCall, Kernel, TargetInfo, Load, LoopKernel, TensorSpec, RowPass, Store, Var,
                  generated_loop)
from .loop_rewriter import replace_generated_loop

# From as many elements on, several readers of a cast to float16 read it from memory: each reads
# half as much then. An estimate.
MIN_STORED_CAST = 1 << 16


def eliminate_cast_stores(kernels: list[Kernel], outputs: list[Var], target: TargetInfo) -> list[Kernel]:
    """The kernels without those casts that loops alone read, where there is float16."""
    if target.float16_kernels is None:
        return kernels
    readers: dict[Atom, int] = {}
    for k in kernels:
        for atom in k.reads:
            readers[atom] = readers.get(atom, 0) + 1
    needed = {*outputs, *(a for k in kernels for a in _non_load_operands(k)), *_partially_stored(kernels)}
    there: dict[Var, Atom] = {}          # what is not written -> what is read in its place
    left: list[Kernel] = []
    for k in kernels:
        loop = generated_loop(k)
        stores = [] if loop is None else [
            stored for s in loop.stores
            for stored in _rewrite_store(k, loop, s, s.target in needed, readers.get(s.target, 0), there)]
        left.append(k if loop is None or tuple(stores) == loop.stores else
                    _replace_stores(k, loop, stores, there))
    left = [_replace_loads(k, there) for k in left]
    return [k for k in left if not isinstance(k, LoopKernel) or k.stores]


def _partially_stored(kernels: list[Kernel]) -> list[Var]:
    """What several stores make together, as a concatenation: no other buffer is all of it."""
    loops = filter(None, map(generated_loop, kernels))
    stores = Counter(s.target for loop in loops for s in loop.stores)
    return [target for target, count in stores.items() if count > 1]


def _non_load_operands(k: Kernel) -> Iterator[Atom]:
    """What a kernel reads otherwise than by loads."""
    if not isinstance(k, LoopKernel):
        yield from k.args if isinstance(k, KernelCall) else k.reads


def _rewrite_store(k: Kernel, loop: LoopKernel, s: Store, is_needed: bool, readers: int,
            there: dict[Var, Atom]) -> list[Store]:
    """A store as it shall be; `there` learns what is to be read where nothing is stored for it."""
    cast = loop.values[s.value]
    if is_needed or not isinstance(cast, ElementwiseOp) or cast.expression != "cast(x)":
        return [s]
    at, = cast.args
    x = loop.values[at]
    if {x.dtype.name, cast.dtype.name} != {"float16", "float32"}:
        return [s]
    if isinstance(x, Load) and x.view == s.view and s.view.contiguous \
            and x.source.spec.count == s.target.spec.count and x.source not in there:
        own = isinstance(k, KernelCall) and x.source in k.outs        # not there but for this
        if cast.dtype is dtypes.float32 or \
                not own and (readers == 1 or s.target.spec.count < MIN_STORED_CAST):
            there[s.target] = x.source
            return []
    if cast.dtype is dtypes.float16 or loop.value_sites[at][1] != loop.value_sites[s.value][1]:
        return [s]
    # That of a cast to float16 may go itself.
    stays = not (isinstance(x, ElementwiseOp) and x.expression == "cast(x)")
    same = [other.target for other in loop.stores
            if stays and other.value == at and other.view == s.view]
    there[s.target] = same[0] if same else Var(TensorSpec(s.target.spec.shape, dtypes.float16))
    return [] if same else [Store(at, there[s.target], s.view)]


def _replace_stores(k: Kernel, loop: LoopKernel, stores: list[Store], there: dict[Var, Atom]) -> Kernel:
    if isinstance(k, KernelCall) and any(there.get(s.target) in k.outs for s in loop.stores):
        k = replace(k, result_escapes=True)
    return replace_generated_loop(k, replace(loop, stores=tuple(stores)))


def _replace_loads(k: Kernel, there: dict[Var, Atom]) -> Kernel:
    """The kernel with loads of what is there."""
    loop = generated_loop(k)
    if loop is None or there.keys().isdisjoint(loop.reads):
        return k

    def loaded(value):
        moved = isinstance(value, Load) and value.source in there
        return Load(there[value.source], value.view, value.dtype) if moved else value

    stages = tuple(RowPass(tuple(map(loaded, s.elementwise)), tuple(map(loaded, s.post_reduce)))
                   for s in loop.passes)
    return replace_generated_loop(k, replace(loop, passes=stages))
