"""Splitting of long reductions in two stages, of which the first can be parallel.

The chunks, and so the result, do not depend on the number of threads.
"""
from __future__ import annotations

from math import gcd, prod

from ...base import shapes
from ...ir import PRIMITIVES, Atom, Const, Eqn, Graph, Primitive, TensorSpec, Var
from ...ir.analysis import with_equations
from ..context import PassContext

# A reduction of fewer elements than this is not worth a second kernel.
MIN_SPLIT = 1 << 15
# The number of chunks of a long reduction to few results: enough for any number of threads in use.
MAX_CHUNKS = 64
# Columns are reduced in chunks of 16 rows where rows are so wide that walking down a few columns
# touches a page of memory with each row. Chromium, one thread, column sums of 1024 x 1024 in chunks
# of 8 / 16 / 32 / 64 / 1024 rows: 48 / 50 / 66 / 74 / 78 us; of 256 columns alike. A second chunk
# pays from MIN_WIDE_SPLIT elements on.
CHUNK_ROWS, WIDE, MIN_WIDE_SPLIT = 16, 512, 1 << 17
# Rows that are no whole number of vectors are taken several at a time, up to this width.
LANES, NARROW = 16, 64


def split_long_reductions(graph: Graph, context: PassContext) -> Graph:
    """Replace each long reduction to few results by a reduction of chunks and one of their
    results."""
    broadcasts: set[Atom] = set()        # elementwise results that depend on a broadcast operand
    eqns: list[Eqn] = []
    for e in graph.eqns:
        if e.prim.kind == "elementwise" and _reads_broadcast(e, broadcasts):
            broadcasts.update(e.outs)
        eqns += _split(e, broadcasts) if e.prim.kind == "reduce" else [e]
    return with_equations(graph, eqns)


def _reads_broadcast(e: Eqn, broadcasts: set[Atom]) -> bool:
    """Whether an operand, or an elementwise producer of one, has another shape than the result."""
    tensors = [a for a in e.args if not (isinstance(a, Const) and a.is_scalar)]
    return any(a in broadcasts or a.spec.shape != e.out.spec.shape for a in tensors)


def _split(e: Eqn, broadcasts: set[Atom]) -> list[Eqn]:
    x, axes = e.args[0], e.attrs["axes"]
    if x.spec.count < MIN_SPLIT:
        return [e]
    columns = axes == tuple(range(len(axes))) and e.out.spec.count > 1
    return _split_column_reduction(e, broadcasts) if columns else _split_one_axis(e)


# ── columns ───────────────────────────────────────────────────────────────────────────────────


def _split_column_reduction(e: Eqn, broadcasts: set[Atom]) -> list[Eqn]:
    """A reduction over all axes but the last ones."""
    x, width = e.args[0], e.out.spec.count
    rows = x.spec.count // width
    if width >= WIDE:
        chunk = next((n for n in range(CHUNK_ROWS, CHUNK_ROWS // 2, -1) if rows % n == 0), rows)
        long = x.spec.count >= MIN_WIDE_SPLIT and rows >= 4 * chunk
        return _two_stage(e, x, rows // chunk, chunk) if long else [e]
    adjacent = _rows_per_vector(width)
    # A loop that broadcasts along the rows could not take several of them as one.
    if adjacent == 1 or rows % adjacent or x in broadcasts:
        adjacent = 1
    chunks = 1
    if width < MAX_CHUNKS and rows >= MIN_SPLIT:
        chunks = _divisor(rows // adjacent, MAX_CHUNKS)
    if chunks * adjacent == 1:
        return [e]
    return _two_stage(e, x, chunks, rows // adjacent // chunks, adjacent)


def _rows_per_vector(width: int) -> int:
    """The number of adjacent rows whose elements fill a whole number of vectors."""
    return LANES // gcd(width, LANES) if width < NARROW and width % 4 else 1


def _two_stage(e: Eqn, x: Atom, chunks: int, rows: int, adjacent: int = 1) -> list[Eqn]:
    """Reduce each chunk of `rows` times `adjacent` rows, and then the partial results."""
    shape, width = e.out.spec.shape, e.out.spec.count
    reshape, chunked = _reshape(x, (chunks, rows, adjacent * width))
    first, partial = _reduce(e.prim, chunked, (1,))
    eqns = [reshape, first]
    if partial.spec.shape != (chunks * adjacent, *shape):
        reshape, partial = _reshape(partial, (chunks * adjacent, *shape))
        eqns.append(reshape)
    second = Eqn(e.prim, (partial,), {"axes": (0,)}, e.outs)
    return [*eqns, *_split(second, set())]


# ── other axes ────────────────────────────────────────────────────────────────────────────────


def _split_one_axis(e: Eqn) -> list[Eqn]:
    """A reduction of many elements to few results, split along its longest axis."""
    x, axes = e.args[0], e.attrs["axes"]
    shape = x.spec.shape
    reduced = prod(shape[a] for a in axes)
    if reduced < MIN_SPLIT or e.out.spec.count >= MAX_CHUNKS:
        return [e]
    axis = max(axes, key=lambda a: shape[a])
    chunks = _divisor(shape[axis], MAX_CHUNKS)
    if chunks == 1 or chunks == reduced:
        return [e]
    split = shape[:axis] + (chunks, shape[axis] // chunks) + shape[axis + 1:]
    inner = tuple(a + (a >= axis) for a in axes)
    reshape, chunked = _reshape(x, split)
    first, partial = _reduce(e.prim, chunked, inner)
    last = sum(a not in inner for a in range(axis))
    return [reshape, first, Eqn(e.prim, (partial,), {"axes": (last,)}, e.outs)]


def _divisor(n: int, most: int) -> int:
    """The largest divisor of n up to `most`."""
    return next(d for d in range(min(most, n), 0, -1) if n % d == 0)


def _reshape(x: Atom, shape: tuple[int, ...]) -> tuple[Eqn, Var]:
    out = Var(TensorSpec(shape, x.spec.dtype))
    return Eqn(PRIMITIVES["reshape"], (x,), {"shape": shape}, (out,)), out


def _reduce(prim: Primitive, x: Var, axes: tuple[int, ...]) -> tuple[Eqn, Var]:
    out = Var(TensorSpec(shapes.remove_axes(x.spec.shape, axes), x.spec.dtype))
    return Eqn(prim, (x,), {"axes": axes}, (out,)), out
