"""Strided views and shape arithmetic against NumPy's own."""
from math import prod

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tensorbrook.base import shapes, tree, views
from tensorbrook.base.errors import InvalidArgumentError
from tensorbrook.base.views import View

SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)
FULL = st.lists(st.integers(1, 5), max_size=4).map(tuple)


def elements(view: View, buffer: np.ndarray) -> np.ndarray:
    """What a view shows of a buffer, through NumPy's strides."""
    if not prod(view.shape):
        return np.zeros(view.shape, buffer.dtype)
    strides = tuple(s * buffer.itemsize for s in view.strides)
    return np.lib.stride_tricks.as_strided(buffer[view.offset:], view.shape, strides).copy()


def moved(draw, view: View, array: np.ndarray) -> tuple[View, np.ndarray]:
    """One movement, of the view and of the array that it shows."""
    kind = draw(st.sampled_from(("transpose", "broadcast", "slice", "reshape")))
    if kind == "transpose":
        perm = draw(st.permutations(range(array.ndim)))
        return view.transpose(perm), array.transpose(perm)
    if kind == "broadcast":
        shape = draw(st.lists(st.integers(1, 3), max_size=1).map(tuple)) + array.shape
        return view.broadcast_to(shape), np.broadcast_to(array, shape)
    if kind == "slice":
        keys = tuple(draw(st.slices(n)) for n in array.shape)
        picked, cut = [k.indices(n) for k, n in zip(keys, array.shape)], array[keys]
        return view.slice([p[0] for p in picked], cut.shape, [p[2] for p in picked]), cut
    shape = draw(st.sampled_from(factorings(array.size)))
    anew = view.reshape(shape)
    return (view, array) if anew is None else (anew, array.reshape(shape))


def factorings(count: int) -> list[tuple[int, ...]]:
    if count == 0:
        return [(0,), (3, 0), (0, 1, 2)]
    two = [(n, count // n) for n in range(1, count + 1) if count % n == 0]
    three = [(2, a // 2, b) for a, b in two if a % 2 == 0]
    return [(count,), *two, *((a, 1, b) for a, b in two), *three]


@given(st.data(), SHAPES)
def test_movements_show_what_numpy_shows(data, shape):
    buffer = np.arange(max(prod(shape), 1))
    view, array = View.of(shape), buffer[:prod(shape)].reshape(shape)
    for _ in range(data.draw(st.integers(0, 5))):
        if array.ndim or data.draw(st.booleans()):
            view, array = moved(data.draw, view, array)
        assert view.shape == array.shape
        assert (elements(view, buffer) == array).all()


@given(SHAPES, st.data())
def test_a_plain_view_takes_every_shape_and_none_needs_a_copy(shape, data):
    wanted = data.draw(st.sampled_from(factorings(prod(shape))))
    anew = View.of(shape).reshape(wanted)
    assert anew is not None and (prod(shape) == 0 or anew.contiguous)


@given(st.data(), FULL)
def test_reshape_gives_up_only_where_numpy_must_copy(data, shape):
    buffer = np.arange(prod(shape))
    perm = data.draw(st.permutations(range(len(shape))))
    wanted = data.draw(st.sampled_from(factorings(prod(shape))))
    array = buffer.reshape(shape).transpose(perm)
    copied = not np.shares_memory(array.reshape(wanted), buffer)
    assert (View.of(shape).transpose(perm).reshape(wanted) is None) == copied


@given(FULL)
def test_contiguous_is_what_numpy_calls_it(shape):
    for view, array in ((View.of(shape), np.zeros(shape)),
                        (View.of(shape).transpose(range(len(shape))[::-1]), np.zeros(shape).T)):
        assert view.contiguous == array.flags.c_contiguous


@given(st.data(), FULL)
def test_collapsed_axes_are_walked_in_one_stride(data, shape):
    """Every element keeps its place when the axes of a group become one."""
    perm = data.draw(st.permutations(range(len(shape))))
    labels = tuple(data.draw(st.booleans()) for _ in shape)
    turned = View.of(tuple(shape[p] for p in perm))
    both = [View.of(shape), turned.transpose([perm.index(i) for i in range(len(perm))])]
    groups = views.coalesce_axes(shape, both, labels)
    assert sorted(i for g in groups for i in g) == [i for i, n in enumerate(shape) if n != 1]
    assert all(len({labels[i] for i in g}) == 1 for g in groups)
    buffer = np.arange(prod(shape))
    for view in both:
        merged = View(tuple(prod(shape[i] for i in g) for g in groups),
                      tuple(view.strides[g[-1]] for g in groups), view.offset)
        assert (elements(merged, buffer).ravel() == elements(view, buffer).ravel()).all()


# ── shapes ──


@given(SHAPES, SHAPES)
def test_broadcast_as_numpy_does(a, b):
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(InvalidArgumentError, match="disagree on axis"):
            shapes.broadcast("add", a, b)
    else:
        assert shapes.broadcast("add", a, b) == expected


@given(FULL, st.data())
def test_stretched_axes_are_those_to_sum(shape, data):
    small = tuple(data.draw(st.sampled_from((1, n))) for n in shape)[data.draw(st.integers(0, 4)):]
    axes = shapes.broadcast_axes(shape, small)
    summed = np.ones(shape).sum(axes).reshape(small)
    assert (summed == prod(shape) / max(prod(small), 1)).all()


@given(FULL, st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.data())
def test_windows_lie_within_what_is_padded(shape, window, stride, dilation, data):
    assume(shape)
    size, reach = shape[0], (window - 1) * dilation + 1
    out, before = shapes.window_output_size("conv2d", size, window, stride, dilation, "SAME")
    assert out == -(-size // stride) and 0 <= before < reach
    needed = max((out - 1) * stride + reach - size, 0)
    assert before == needed // 2, "the odd one is padded behind"
    if size >= reach:
        out, before = shapes.window_output_size("conv2d", size, window, stride, dilation, "VALID")
        assert before == 0 and (out - 1) * stride + reach <= size < out * stride + reach


def test_filled_in():
    assert shapes.infer_reshape("reshape", (2, -1), 6) == (2, 3)
    assert shapes.infer_reshape("reshape", (-1,), 0) == (0,)
    assert shapes.infer_reshape("reshape", (), 1) == ()


# ── trees ──

LEAVES = st.integers() | st.none() | st.text(max_size=2)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.lists(
    inner, max_size=3).map(tuple) | st.dictionaries(st.text(max_size=2), inner, max_size=3))


@given(TREES)
def test_a_tree_is_put_together_as_it_was(value):
    leaves, structure = tree.flatten(value)
    assert tree.unflatten(structure, leaves) == value
    assert hash(structure) == hash(tree.flatten(value)[1]), "a structure is part of a signature"


def test_trees_of_one_structure_are_mapped_together():
    assert tree.tree_map(lambda x, y: x + y, {"a": [1, 2], "b": 3}, {"b": 30, "a": [10, 20]}) == {
        "a": [11, 22], "b": 33}
