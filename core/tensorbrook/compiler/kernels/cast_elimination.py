"""Cast elimination: a value that is only a cast from or to float16 is not stored; consumers cast
when they load.

A cast costs next to nothing where an element is loaded anyway, while a buffer of casts costs memory
and bandwidth, and often a separate kernel. So a load may have another floating dtype than its
source: a float32 bias added in float16, a float16 gradient read by the optimizer in float32, a
float16 result that the next layer reads as float32.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from ...base import dtypes
from ...ir import (Atom, ElementwiseOp, Kernel, KernelCall, Load, LoopKernel, RowPass, Store,
                   TensorSpec, Value, Var, generated_loop)
from ..context import PassContext
from ..lowering import Lowering
from ..memory.aliasing import Aliasing
from .loop_rewriter import replace_generated_loop

# From this number of elements on, several consumers of a cast to float16 read it from memory, as
# each reads half as much. Heuristic; not tuned on hardware.
MIN_STORED_CAST = 1 << 16


def eliminate_cast_stores(lowering: Lowering, context: PassContext) -> Lowering:
    """Drop the stores of casts that only loops read, where the target has float16.

    All casts stay where that would break an in-place update which fusion relied on.
    """
    if context.target.float16_kernels is None:
        return lowering
    kernels = _without_cast_stores(lowering)
    lean = replace(lowering, kernels=kernels)
    aliasing = Aliasing(kernels, context.target)
    holds = all(aliasing.can_alias(lowering.outputs[i], lowering.graph.inputs[j])
                for i, j in lowering.aliases.items())
    return lean if holds else lowering


def _without_cast_stores(lowering: Lowering) -> tuple[Kernel, ...]:
    kernels = lowering.kernels
    uses = Counter(atom for k in kernels for atom in k.reads)
    stored = {*lowering.outputs, *(a for k in kernels for a in _non_load_operands(k)),
              *_partially_stored(kernels)}
    replacements: dict[Var, Atom] = {}   # variable without a store -> the buffer to load instead
    rewritten: list[Kernel] = []
    for k in kernels:
        loop = generated_loop(k)
        if loop is None:
            rewritten.append(k)
            continue
        stores = [s for store in loop.stores for s in _rewrite_store(
            k, loop, store, store.target in stored, uses[store.target], replacements)]
        same = tuple(stores) == loop.stores
        rewritten.append(k if same else _with_stores(k, loop, stores, replacements))
    rewritten = [_replace_sources(k, replacements) for k in rewritten]
    return tuple(k for k in rewritten if not isinstance(k, LoopKernel) or k.stores)


def _partially_stored(kernels: tuple[Kernel, ...]) -> list[Var]:
    """The results that several stores assemble, as a concatenation does."""
    loops = filter(None, map(generated_loop, kernels))
    stores = Counter(s.target for loop in loops for s in loop.stores)
    return [target for target, count in stores.items() if count > 1]


def _non_load_operands(k: Kernel) -> Iterator[Atom]:
    """The buffers that a kernel reads otherwise than by loads of a generated loop."""
    if not isinstance(k, LoopKernel):
        yield from k.args if isinstance(k, KernelCall) else k.reads


def _rewrite_store(k: Kernel, loop: LoopKernel, s: Store, is_stored: bool, uses: int,
                   replacements: dict[Var, Atom]) -> list[Store]:
    """Return the stores that replace `s`; `replacements` maps its target to the atom that consumers
    load instead."""
    cast = loop.values[s.value]
    if is_stored or not isinstance(cast, ElementwiseOp) or not cast.expression.is_cast:
        return [s]
    position, = cast.args
    x = loop.values[position]
    if {x.dtype.name, cast.dtype.name} != {"float16", "float32"}:
        return [s]
    if isinstance(x, Load) and x.view == s.view and s.view.contiguous \
            and x.source.spec.count == s.target.spec.count and x.source not in replacements:
        own = isinstance(k, KernelCall) and x.source in k.outs     # not stored unless it is used
        if cast.dtype is dtypes.float32 or \
                not own and (uses == 1 or s.target.spec.count < MIN_STORED_CAST):
            replacements[s.target] = x.source
            return []
    sites = loop.value_sites
    if cast.dtype is dtypes.float16 or sites[position][1] != sites[s.value][1]:
        return [s]
    # The store of a cast to float16 may be dropped too.
    stays = not (isinstance(x, ElementwiseOp) and x.expression.is_cast)
    same = [other.target for other in loop.stores
            if stays and other.value == position and other.view == s.view]
    replacements[s.target] = same[0] if same else Var(TensorSpec(s.target.spec.shape,
                                                                 dtypes.float16))
    return [] if same else [Store(position, replacements[s.target], s.view)]


def _with_stores(k: Kernel, loop: LoopKernel, stores: list[Store],
                 replacements: dict[Var, Atom]) -> Kernel:
    if isinstance(k, KernelCall) and any(replacements.get(s.target) in k.outs for s in loop.stores):
        k = replace(k, result_escapes=True)
    return replace_generated_loop(k, replace(loop, stores=tuple(stores)))


def _replace_sources(k: Kernel, replacements: dict[Var, Atom]) -> Kernel:
    """The kernel with loads of the buffers that replace others."""
    loop = generated_loop(k)
    if loop is None or replacements.keys().isdisjoint(loop.reads):
        return k

    def loaded(value: Value) -> Value:
        moved = isinstance(value, Load) and value.source in replacements
        return Load(replacements[value.source], value.view, value.dtype) if moved else value

    passes = tuple(RowPass(tuple(map(loaded, p.elementwise)), tuple(map(loaded, p.post_reduce)))
                   for p in loop.passes)
    return replace_generated_loop(k, replace(loop, passes=passes))
