"""`tf.einsum`: sums of products over named axes, as matrix products of what the names leave."""
from math import prod

from ..base.errors import InvalidArgumentError
from ..tensor import Tensor, as_tensor
from . import kernel_primitives as c
from . import math
from . import primitives as p

Labels = tuple[str, ...]


def einsum(equation: str, *inputs) -> Tensor:
    """The sum of products that an equation names: axes of one letter have one size; those that the
    result lacks are summed over; `...` stands for axes that broadcast.

    >>> tf.einsum("bij,bjk->bik", tf.ones((2, 3, 4)), tf.ones((2, 4, 5))).shape
    (2, 3, 5)
    """
    operands = [as_tensor(x) for x in inputs]
    given, wanted = _parse(equation, operands)
    operands = [_broadcast_operand(equation, x, names, operands, given)
                for x, names in zip(operands, given)]
    names, out = given[0], operands[0]
    for i, (x, theirs) in enumerate(zip(operands[1:], given[1:])):
        needed = set(wanted).union(*given[i + 2:])
        out, names = _contract(out, names, x, theirs, needed)
    out, names = _reduce_unused(out, names, set(wanted))
    return _permute(out, names, wanted)


def _equation_error(equation: str, what: str, way_out: str) -> InvalidArgumentError:
    return InvalidArgumentError("einsum", f"{what} in {equation!r}", way_out)


# ── the equation ──────────────────────────────────────────────────────────────────────────────


def _parse(equation: str, operands: list[Tensor]) -> tuple[list[Labels], Labels]:
    """The names of each operand's axes, and of the result's; axes of `...` are called ..0, ..1."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise _equation_error(equation, f"{len(terms)} terms stand for {len(operands)} tensors",
                       "write one for each, with commas between")
    named = [_axis_labels(equation, term, x.ndim) for term, x in zip(terms, operands)]
    dots = max((names for names in named), key=lambda names: sum(n[0] == "." for n in names))
    dots = tuple(n for n in dots if n[0] == ".")
    if not arrow:
        once = sorted(n for n in set(left) if n.isalpha() and left.count(n) == 1)
        return named, (*dots, *once)
    wanted: list[str] = []
    for name in _tokenize(equation, right):
        wanted += dots if name == "..." else (name,)
    known = {n for names in named for n in names}
    for name in wanted:
        if name not in known or wanted.count(name) > 1:
            raise _equation_error(equation, f"the result's axis {name!r} comes from no tensor"
                           if name not in known else f"the result names axis {name!r} twice",
                           "name each axis of the result once, and in a term before ->")
    return named, tuple(wanted)


def _tokenize(equation: str, term: str) -> list[str]:
    """The letters of a term, with `...` as one of them."""
    parts = term.split("...")
    letters = [letter for part in parts for letter in part]
    if len(parts) > 2 or not all(letter.isalpha() for letter in letters):
        raise _equation_error(equation, f"{term!r} is not a list of axes",
                       "a term takes letters and at most one ...")
    return [*parts[0], *(["...", *parts[1]] if len(parts) == 2 else [])]


def _axis_labels(equation: str, term: str, rank: int) -> Labels:
    letters = _tokenize(equation, term)
    free = rank - sum(letter != "..." for letter in letters)
    if free < 0 or free and "..." not in letters:
        raise _equation_error(equation, f"{term!r} stands for a tensor of {rank} axes",
                       f"name {rank} axes, or use ... for those without a name")
    # The last axes align, as in broadcasting.
    dots = tuple(f"..{i}" for i in range(free - 1, -1, -1))
    names = tuple(n for letter in letters for n in (dots if letter == "..." else (letter,)))
    if len(set(names)) < len(names):
        raise _equation_error(equation, f"{term!r} names one axis twice",
                       "take the diagonal first, with tf.linalg.diag_part")
    return names


def _broadcast_operand(equation: str, x: Tensor, names: Labels, operands, given) -> Tensor:
    """The tensor with the sizes that its names have elsewhere."""
    shape = []
    for name, own in zip(names, x.shape):
        sizes = {y.shape[theirs.index(name)] for y, theirs in zip(operands, given)
                 if name in theirs} - ({1} if name[0] == "." else set())
        if len(sizes) > 1:
            raise _equation_error(equation, f"axis {name!r} has the sizes "
                           f"{' and '.join(map(str, sorted(sizes)))}", "one name has one size")
        shape.append(sizes.pop() if sizes else own)
    return p.broadcast_to(x, shape=tuple(shape)) if tuple(shape) != tuple(x.shape) else x


# ── the products ──────────────────────────────────────────────────────────────────────────────


def _reduce_unused(x: Tensor, names: Labels, needed: set) -> tuple[Tensor, Labels]:
    """Without the axes that nobody asks for any more."""
    axes = tuple(i for i, n in enumerate(names) if n not in needed)
    kept = tuple(n for n in names if n in needed)
    return (math.reduce_sum(x, axes), kept) if axes else (x, names)


def _permute(x: Tensor, names: Labels, wanted: Labels) -> Tensor:
    perm = tuple(names.index(n) for n in wanted)
    return x if perm == tuple(range(len(perm))) else p.transpose(x, perm=perm)


def _contract(x: Tensor, of_x: Labels, y: Tensor, of_y: Labels, needed: set):
    """Two tensors in one: as a product of matrices, one for each pair of common axes that stay."""
    x, of_x = _reduce_unused(x, of_x, needed | set(of_y))
    y, of_y = _reduce_unused(y, of_y, needed | set(of_x))
    batch = tuple(n for n in of_x if n in of_y and n in needed)
    inner = tuple(n for n in of_x if n in of_y and n not in needed)
    rows = tuple(n for n in of_x if n not in of_y)
    columns = tuple(n for n in of_y if n not in of_x)
    names = batch + rows + columns
    size = dict(zip(of_x, x.shape)) | dict(zip(of_y, y.shape))
    if not inner or not x.dtype.is_floating:
        product = p.multiply(_align(x, of_x, (*names, *inner)), _align(y, of_y, (*names, *inner)))
        return _reduce_unused(product, (*names, *inner), set(names))
    # A side whose axes already lie the other way round is handed over as it is.
    turned_x, turned_y = of_x == batch + inner + rows, of_y == batch + columns + inner
    a = _to_matrices(x, of_x, (batch, inner, rows) if turned_x else (batch, rows, inner))
    b = _to_matrices(y, of_y, (batch, columns, inner) if turned_y else (batch, inner, columns))
    out = c.matmul(a, b, transpose_a=turned_x, transpose_b=turned_y)
    return p.reshape(out, shape=tuple(size[n] for n in names)), names


def _align(x: Tensor, names: Labels, wanted: Labels) -> Tensor:
    """The axes in that order, those that it lacks with size 1."""
    kept = tuple(n for n in wanted if n in names)
    size = dict(zip(names, x.shape))
    return p.reshape(_permute(x, names, kept), shape=tuple(size.get(n, 1) for n in wanted))


def _to_matrices(x: Tensor, names: Labels, groups: tuple[Labels, Labels, Labels]) -> Tensor:
    """One matrix for each of the first group's places, or a single one if there is no group."""
    size = dict(zip(names, x.shape))
    batch, *sides = (prod(size[n] for n in group) for group in groups)
    shape = (batch, *sides) if groups[0] else tuple(sides)
    return p.reshape(_permute(x, names, sum(groups, ())), shape=shape)
