"""Strided views, shape arithmetic and trees; views and shapes against NumPy."""
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
    """The elements of a view of a buffer, through the strides of NumPy."""
    if not prod(view.shape):
        return np.zeros(view.shape, buffer.dtype)
    strides = tuple(s * buffer.itemsize for s in view.strides)
    return np.lib.stride_tricks.as_strided(buffer[view.offset:], view.shape, strides).copy()


def transform(draw, view: View, array: np.ndarray) -> tuple[View, np.ndarray]:
    """Apply one random operation to the view and to the equal array."""
    kind = draw(st.sampled_from(("transpose", "broadcast", "slice", "reshape")))
    if kind == "transpose":
        perm = draw(st.permutations(range(array.ndim)))
        return view.transpose(perm), array.transpose(perm)
    if kind == "broadcast":
        shape = draw(st.lists(st.integers(1, 3), max_size=1).map(tuple)) + array.shape
        return view.broadcast_to(shape), np.broadcast_to(array, shape)
    if kind == "slice":
        keys = tuple(draw(st.slices(n)) for n in array.shape)
        indices, sliced = [k.indices(n) for k, n in zip(keys, array.shape)], array[keys]
        return view.slice([i[0] for i in indices], sliced.shape, [i[2] for i in indices]), sliced
    shape = draw(st.sampled_from(factorings(array.size)))
    reshaped = view.reshape(shape)
    return (view, array) if reshaped is None else (reshaped, array.reshape(shape))


def factorings(count: int) -> list[tuple[int, ...]]:
    if count == 0:
        return [(0,), (3, 0), (0, 1, 2)]
    pairs = [(n, count // n) for n in range(1, count + 1) if count % n == 0]
    triples = [(2, a // 2, b) for a, b in pairs if a % 2 == 0]
    return [(count,), *pairs, *((a, 1, b) for a, b in pairs), *triples]


@given(st.data(), SHAPES)
def test_view_operations_agree_with_numpy(data, shape):
    buffer = np.arange(max(prod(shape), 1))
    view, array = View.of(shape), buffer[:prod(shape)].reshape(shape)
    for _ in range(data.draw(st.integers(0, 5))):
        if array.ndim or data.draw(st.booleans()):
            view, array = transform(data.draw, view, array)
        assert view.shape == array.shape
        assert (elements(view, buffer) == array).all()


@given(SHAPES, st.data())
def test_a_contiguous_view_can_be_reshaped_to_every_shape(shape, data):
    new_shape = data.draw(st.sampled_from(factorings(prod(shape))))
    view = View.of(shape).reshape(new_shape)
    assert view is not None and (prod(shape) == 0 or view.contiguous)


@given(st.data(), FULL)
def test_reshape_returns_none_only_where_numpy_copies(data, shape):
    buffer = np.arange(prod(shape))
    perm = data.draw(st.permutations(range(len(shape))))
    new_shape = data.draw(st.sampled_from(factorings(prod(shape))))
    array = buffer.reshape(shape).transpose(perm)
    is_copied = not np.shares_memory(array.reshape(new_shape), buffer)
    assert (View.of(shape).transpose(perm).reshape(new_shape) is None) == is_copied


@given(FULL)
def test_contiguous_agrees_with_numpy(shape):
    for view, array in ((View.of(shape), np.zeros(shape)),
                        (View.of(shape).transpose(range(len(shape))[::-1]), np.zeros(shape).T)):
        assert view.contiguous == array.flags.c_contiguous


@given(st.data(), FULL)
def test_coalesced_axes_have_one_stride(data, shape):
    """Replacing each group by one axis preserves the order of the elements."""
    perm = data.draw(st.permutations(range(len(shape))))
    labels = tuple(data.draw(st.booleans()) for _ in shape)
    permuted = View.of(tuple(shape[p] for p in perm))
    inverse = [perm.index(i) for i in range(len(perm))]
    both = [View.of(shape), permuted.transpose(inverse)]
    groups = views.coalesce_axes(shape, both, labels)
    assert sorted(i for g in groups for i in g) == [i for i, n in enumerate(shape) if n != 1]
    assert all(len({labels[i] for i in g}) == 1 for g in groups)
    buffer = np.arange(prod(shape))
    for view in both:
        coalesced = View(tuple(prod(shape[i] for i in g) for g in groups),
                         tuple(view.strides[g[-1]] for g in groups), view.offset)
        assert (elements(coalesced, buffer).ravel() == elements(view, buffer).ravel()).all()


# ── shapes ──


@given(SHAPES, SHAPES)
def test_broadcast_agrees_with_numpy(a, b):
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(InvalidArgumentError, match="do not broadcast at axis"):
            shapes.broadcast("add", a, b)
    else:
        assert shapes.broadcast("add", a, b) == expected


@given(FULL, st.data())
def test_broadcast_axes_are_the_axes_to_reduce_in_the_gradient(shape, data):
    small = tuple(data.draw(st.sampled_from((1, n))) for n in shape)[data.draw(st.integers(0, 4)):]
    axes = shapes.broadcast_axes(shape, small)
    summed = np.ones(shape).sum(axes).reshape(small)
    assert (summed == prod(shape) / max(prod(small), 1)).all()


@given(FULL, st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.data())
def test_windows_are_within_the_padded_input(shape, window, stride, dilation, data):
    assume(shape)
    size, reach = shape[0], (window - 1) * dilation + 1
    out, before = shapes.window_output_size("conv2d", size, window, stride, dilation, "SAME")
    assert out == -(-size // stride) and 0 <= before < reach
    needed = max((out - 1) * stride + reach - size, 0)
    assert before == needed // 2, "an odd element is padded at the end"
    if size >= reach:
        out, before = shapes.window_output_size("conv2d", size, window, stride, dilation, "VALID")
        assert before == 0 and (out - 1) * stride + reach <= size < out * stride + reach


def test_infer_reshape():
    assert shapes.infer_reshape("reshape", (2, -1), 6) == (2, 3)
    assert shapes.infer_reshape("reshape", (-1,), 0) == (0,)
    assert shapes.infer_reshape("reshape", (), 1) == ()


# ── trees ──

LEAVES = st.integers() | st.none() | st.text(max_size=2)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.lists(
    inner, max_size=3).map(tuple) | st.dictionaries(st.text(max_size=2), inner, max_size=3))


@given(TREES)
def test_flatten_and_unflatten_are_inverse(value):
    leaves, structure = tree.flatten(value)
    assert tree.unflatten(structure, leaves) == value
    assert hash(structure) == hash(tree.flatten(value)[1]), "a structure is part of a signature"


def test_tree_map_of_two_trees():
    assert tree.tree_map(lambda x, y: x + y, {"a": [1, 2], "b": 3}, {"b": 30, "a": [10, 20]}) == {
        "a": [11, 22], "b": 33}
