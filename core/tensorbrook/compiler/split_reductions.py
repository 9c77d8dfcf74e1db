"""Long folds become two, the first of which is quick and may be shared among the threads.

Neither the parts nor, with them, the result depend on the number of threads.
"""
from math import gcd, prod

from ..base import shapes
from ..ir import PRIMITIVES, Atom, Const, Eqn, Graph, Primitive, TensorSpec, Var

# A fold over fewer elements than this is not worth a second kernel.
MIN_SPLIT = 1 << 15
# How many parts a long fold with few results is cut into: enough for any number of threads we run.
MAX_CHUNKS = 64
# Columns are folded in strips of so many rows, where rows are so wide that walking down a few
# columns touches a page of memory with each row. Chromium, one thread, sums of the columns of 1024
# x 1024 in strips of 8 / 16 / 32 / 64 / 1024 rows: 48 / 50 / 66 / 74 / 78 us; of 256 columns alike.
# A second strip pays from here on.
CHUNK_ROWS, WIDE, MIN_WIDE_SPLIT = 16, 512, 1 << 17
# Columns of rows that are no whole number of vectors: some rows side by side are.
LANES, NARROW = 16, 64


def split_long_reductions(graph: Graph) -> Graph:
    makers = {o: e for e in graph.eqns for o in e.outs}
    eqns: list[Eqn] = []
    for e in graph.eqns:
        eqns += _split(e, makers) if e.prim.kind == "reduce" else [e]
    return Graph(graph.inputs, eqns, graph.outputs, graph.input_output_aliases)


def _split(e: Eqn, makers: dict) -> list[Eqn]:
    x, axes = e.args[0], e.attrs["axes"]
    if x.spec.count < MIN_SPLIT:
        return [e]
    columns = axes == tuple(range(len(axes))) and e.out.spec.count > 1
    return _split_column_reduction(e, makers) if columns else _split_one_axis(e)


# ── columns ───────────────────────────────────────────────────────────────────────────────────


def _split_column_reduction(e: Eqn, makers: dict) -> list[Eqn]:
    """A fold over all axes but the last ones."""
    x, width = e.args[0], e.out.spec.count
    rows = x.spec.count // width
    if width >= WIDE:
        strip = next((n for n in range(CHUNK_ROWS, CHUNK_ROWS // 2, -1) if rows % n == 0), rows)
        long = x.spec.count >= MIN_WIDE_SPLIT and rows >= 4 * strip
        return _two_stage(e, x, rows // strip, strip) if long else [e]
    beside = _rows_per_vector(width)
    if beside == 1 or rows % beside or not _is_elementwise_chain(x, makers):
        beside = 1
    parts = _divisor(rows // beside, MAX_CHUNKS) if width < MAX_CHUNKS and rows >= MIN_SPLIT else 1
    if parts * beside == 1:
        return [e]
    return _two_stage(e, x, parts, rows // beside // parts, beside)


def _rows_per_vector(width: int) -> int:
    """How many rows take as many elements as a whole number of vectors, several of them."""
    return LANES // gcd(width, LANES) if width < NARROW and width % 4 else 1


def _is_elementwise_chain(atom: Atom, makers: dict) -> bool:
    """Whether a value's elements are maps of others in the same order: then the loop that makes
    them can take rows side by side, which a broadcast along them would not allow."""
    pending, seen = [atom], {atom}
    while pending:
        e = makers.get(pending.pop())
        if e is None or e.prim.kind != "elementwise":
            continue
        others = {a for a in e.args if not (isinstance(a, Const) and a.is_scalar)} - seen
        if any(a.spec.shape != atom.spec.shape for a in others):
            return False
        pending += others
        seen |= others
    return True


def _two_stage(e: Eqn, x: Atom, parts: int, rows: int, beside: int = 1) -> list[Eqn]:
    """Fold each strip of rows, `beside` of them side by side, and then what is left of them."""
    shape, width = e.out.spec.shape, e.out.spec.count
    strips, pieces = _equation("reshape", x, shape=(parts, rows, beside * width))
    folds, partial = _fold(e.prim, pieces, (1,))
    left, between = partial, []
    if partial.spec.shape != (parts * beside, *shape):
        whole, left = _equation("reshape", partial, shape=(parts * beside, *shape))
        between = [whole]
    rest = Eqn(e.prim, (left,), {"axes": (0,)}, e.outs)
    return [strips, folds, *between, *_split(rest, {})]


# ── other axes ────────────────────────────────────────────────────────────────────────────────


def _split_one_axis(e: Eqn) -> list[Eqn]:
    """A fold of many elements to few results, cut along its longest axis."""
    x, axes = e.args[0], e.attrs["axes"]
    shape = x.spec.shape
    folded = prod(shape[a] for a in axes)
    if folded < MIN_SPLIT or e.out.spec.count >= MAX_CHUNKS:
        return [e]
    axis = max(axes, key=lambda a: shape[a])
    parts = _divisor(shape[axis], MAX_CHUNKS)
    if parts == 1 or parts == folded:
        return [e]
    cut = shape[:axis] + (parts, shape[axis] // parts) + shape[axis + 1:]
    inner = tuple(a + (a >= axis) for a in axes)
    strips, pieces = _equation("reshape", x, shape=cut)
    folds, partial = _fold(e.prim, pieces, inner)
    last = sum(a not in inner for a in range(axis))
    return [strips, folds, Eqn(e.prim, (partial,), {"axes": (last,)}, e.outs)]


def _divisor(n: int, most: int) -> int:
    """The largest divisor of n up to `most`."""
    return next(d for d in range(min(most, n), 0, -1) if n % d == 0)


def _equation(name: str, x: Atom, **attrs) -> tuple[Eqn, Var]:
    out = Var(TensorSpec(attrs["shape"], x.spec.dtype))
    return Eqn(PRIMITIVES[name], (x,), attrs, (out,)), out


def _fold(prim: Primitive, x: Var, axes: tuple[int, ...]) -> tuple[Eqn, Var]:
    out = Var(TensorSpec(shapes.remove_axes(x.spec.shape, axes), x.spec.dtype))
    return Eqn(prim, (x,), {"axes": axes}, (out,)), out
