"""`tf.einsum`: contractions in Einstein notation, lowered to batched matrix products."""
from math import prod

from ..base.errors import InvalidArgumentError
from ..tensor import Tensor, as_tensor
from . import kernel_primitives as kp
from . import math
from . import primitives as p

Labels = tuple[str, ...]


def einsum(equation: str, *inputs) -> Tensor:
    """The contraction that an equation specifies.

    Axes with the same letter are multiplied elementwise, axes that are not in the result are summed
    over, and `...` denotes axes that broadcast.

    >>> tf.einsum("bij,bjk->bik", tf.ones((2, 3, 4)), tf.ones((2, 4, 5))).shape
    (2, 3, 5)
    """
    operands = [as_tensor(x) for x in inputs]
    operand_labels, result_labels = _parse(equation, operands)
    operands = [_broadcast_operand(equation, x, labels, operands, operand_labels)
                for x, labels in zip(operands, operand_labels)]
    out, labels = operands[0], operand_labels[0]
    for i, (x, x_labels) in enumerate(zip(operands[1:], operand_labels[1:])):
        needed = set(result_labels).union(*operand_labels[i + 2:])
        out, labels = _contract(out, labels, x, x_labels, needed)
    out, labels = _reduce_unused(out, labels, set(result_labels))
    return _permute(out, labels, result_labels)


def _equation_error(equation: str, problem: str, hint: str) -> InvalidArgumentError:
    return InvalidArgumentError("einsum", f"{problem} in {equation!r}", hint)


# ── the equation ──────────────────────────────────────────────────────────────────────────────


def _parse(equation: str, operands: list[Tensor]) -> tuple[list[Labels], Labels]:
    """The labels of each operand and of the result; axes of `...` have the labels ..0, ..1, ..."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise _equation_error(equation, f"there are {len(terms)} terms for {len(operands)} tensors",
                              "write one term per tensor, separated by commas")
    operand_labels = [_axis_labels(equation, term, x.ndim) for term, x in zip(terms, operands)]
    ellipsis = max((tuple(a for a in labels if a[0] == ".") for labels in operand_labels), key=len)
    if not arrow:
        once = sorted(a for a in set(left) if a.isalpha() and left.count(a) == 1)
        return operand_labels, (*ellipsis, *once)
    result: list[str] = []
    for label in _tokenize(equation, right):
        result += ellipsis if label == "..." else (label,)
    known = {a for labels in operand_labels for a in labels}
    for label in result:
        if label not in known or result.count(label) > 1:
            problem = f"axis {label!r} of the result is in no operand" \
                if label not in known else f"axis {label!r} is in the result twice"
            raise _equation_error(equation, problem,
                                  "use each axis of the result once, and in a term before ->")
    return operand_labels, tuple(result)


def _tokenize(equation: str, term: str) -> list[str]:
    """The letters of a term, and `...` as one token."""
    parts = term.split("...")
    letters = [letter for part in parts for letter in part]
    if len(parts) > 2 or not all(letter.isalpha() for letter in letters):
        raise _equation_error(equation, f"{term!r} is not a valid term",
                              "a term consists of letters and at most one ...")
    return [*parts[0], *(["...", *parts[1]] if len(parts) == 2 else [])]


def _axis_labels(equation: str, term: str, rank: int) -> Labels:
    letters = _tokenize(equation, term)
    num_unlabeled = rank - sum(letter != "..." for letter in letters)
    if num_unlabeled < 0 or num_unlabeled and "..." not in letters:
        raise _equation_error(equation, f"{term!r} does not match a tensor with {rank} axes",
                              f"use {rank} letters, or ... for the other axes")
    # Numbered from the last axis, because broadcasting aligns the last axes.
    ellipsis = tuple(f"..{i}" for i in range(num_unlabeled - 1, -1, -1))
    labels = tuple(a for letter in letters for a in (ellipsis if letter == "..." else (letter,)))
    if len(set(labels)) < len(labels):
        raise _equation_error(equation, f"{term!r} has the same axis twice",
                              "take the diagonal first, with tf.linalg.diag_part")
    return labels


def _broadcast_operand(equation: str, x: Tensor, labels: Labels, operands,
                       operand_labels) -> Tensor:
    """Broadcast the axes of `...` to their common sizes; all other sizes must be equal."""
    shape = []
    for label, size in zip(labels, x.shape):
        sizes = {y.shape[y_labels.index(label)] for y, y_labels in zip(operands, operand_labels)
                 if label in y_labels} - ({1} if label[0] == "." else set())
        if len(sizes) > 1:
            raise _equation_error(
                equation, f"axis {label!r} has the sizes {' and '.join(map(str, sorted(sizes)))}",
                "all axes with the same letter must have the same size")
        shape.append(sizes.pop() if sizes else size)
    return p.broadcast_to(x, shape=tuple(shape)) if tuple(shape) != tuple(x.shape) else x


# ── contraction ───────────────────────────────────────────────────────────────────────────────


def _reduce_unused(x: Tensor, labels: Labels, needed: set) -> tuple[Tensor, Labels]:
    """Sum over the axes that neither the result nor another operand needs."""
    axes = tuple(i for i, a in enumerate(labels) if a not in needed)
    remaining = tuple(a for a in labels if a in needed)
    return (math.reduce_sum(x, axes), remaining) if axes else (x, labels)


def _permute(x: Tensor, labels: Labels, new_labels: Labels) -> Tensor:
    perm = tuple(labels.index(a) for a in new_labels)
    return x if perm == tuple(range(len(perm))) else p.transpose(x, perm=perm)


def _contract(x: Tensor, x_labels: Labels, y: Tensor, y_labels: Labels, needed: set):
    """(product of two operands, its labels): a matrix product, batched over the common axes that
    are needed, and contracted over the other common axes."""
    x, x_labels = _reduce_unused(x, x_labels, needed | set(y_labels))
    y, y_labels = _reduce_unused(y, y_labels, needed | set(x_labels))
    batch = tuple(a for a in x_labels if a in y_labels and a in needed)
    inner = tuple(a for a in x_labels if a in y_labels and a not in needed)
    rows = tuple(a for a in x_labels if a not in y_labels)
    columns = tuple(a for a in y_labels if a not in x_labels)
    labels = batch + rows + columns
    size = dict(zip(x_labels, x.shape)) | dict(zip(y_labels, y.shape))
    if not inner or not x.dtype.is_floating:
        all_labels = (*labels, *inner)
        product = p.multiply(_align(x, x_labels, all_labels), _align(y, y_labels, all_labels))
        return _reduce_unused(product, all_labels, set(labels))
    # An operand whose axes are in transposed order is passed unchanged, with the transpose flag.
    transpose_a = x_labels == batch + inner + rows
    transpose_b = y_labels == batch + columns + inner
    a = _to_matrices(
        x, x_labels, (batch, inner, rows) if transpose_a else (batch, rows, inner))
    b = _to_matrices(
        y, y_labels, (batch, columns, inner) if transpose_b else (batch, inner, columns))
    out = kp.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    return p.reshape(out, shape=tuple(size[a] for a in labels)), labels


def _align(x: Tensor, labels: Labels, new_labels: Labels) -> Tensor:
    """Permute the axes to the order of `new_labels`; axes that x lacks have size 1."""
    present = tuple(a for a in new_labels if a in labels)
    size = dict(zip(labels, x.shape))
    return p.reshape(_permute(x, labels, present), shape=tuple(size.get(a, 1) for a in new_labels))


def _to_matrices(x: Tensor, labels: Labels, groups: tuple[Labels, Labels, Labels]) -> Tensor:
    """Flatten three groups of axes to (batch, rows, columns); an empty first group has no axis."""
    size = dict(zip(labels, x.shape))
    batch, *sides = (prod(size[a] for a in group) for group in groups)
    shape = (batch, *sides) if groups[0] else tuple(sides)
    return p.reshape(_permute(x, labels, sum(groups, ())), shape=shape)
