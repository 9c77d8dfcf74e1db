"""Op cases of cumulative sums and products, einsum, creation, matrices, gathers and scatters."""
import tensorbrook as tf
from op_case import RANK3, MATRIX, UNARY, BINARY, Case, Indices


def flip_if(np, x, axis, reverse):
    return np.flip(x, axis) if reverse else x


def cumulative(function, reference, init=0, kinds="f", low=-2.0, high=2.0):
    """Cases of a cumulative operation: both directions, inclusive and exclusive."""
    def case(axis, exclusive, reverse, shapes):
        def oracle(np, x):
            x = flip_if(np, x, axis, reverse)
            if exclusive:
                first = np.full_like(np.take(x, np.arange(1), axis), init)
                x = np.concatenate([first, np.take(x, np.arange(x.shape[axis] - 1), axis)], axis)
            return flip_if(np, reference(np, x, axis), axis, reverse)
        return Case(lambda x: function(x, axis, exclusive, reverse), oracle, shapes, low, high, kinds=kinds)
    return {"": case(-1, False, False, (((3, 5),), ((7,),), ((2, 3, 4),), ((1, 1),), ((2, 301),))),
            "/first axis": case(0, False, False, (((5, 3),), ((13, 7),), ((4, 2, 9),))),
            "/middle axis, reverse": case(1, False, True, RANK3[:2] + RANK3[3:]),
            "/exclusive": case(0, True, False, (((5, 3),), ((7,),), ((1, 4),))),
            "/exclusive, reverse": case(1, True, True, (((3, 5),), ((2, 1),), ((3, 2, 5),)))}


def cumsum(np, x, axis):
    return np.cumsum(x, axis, dtype=x.dtype)


def cumprod(np, x, axis):
    return np.cumprod(x, axis, dtype=x.dtype)


def cumulative_logsumexp(np, x, axis):
    return np.log(np.cumsum(np.exp(x), axis))


def einsum(equation, *shapes, kinds="f"):
    return Case(lambda *xs: tf.einsum(equation, *xs), lambda np, *xs: np.einsum(equation, *xs), (shapes,), kinds=kinds)


EQUATIONS = {
    "ij,jk->ik": ((2, 3), (3, 4)), "ij,kj->ik": ((2, 3), (4, 3)), "ji,jk": ((3, 2), (3, 4)),
    "bqhd,bkhd->bhqk": ((2, 4, 3, 5), (2, 6, 3, 5)), "bhqk,bkhd->bqhd": ((2, 3, 4, 6), (2, 6, 3, 5)),
    "i,j->ij": ((3,), (4,)), "i,i->": ((3,), (3,)), "i,i->i": ((3,), (3,)), "ij->": ((3, 4),), "ij->ji": ((3, 4),),
    "...ij,...jk->...ik": ((2, 1, 3, 4), (5, 4, 2)), "...ij,jk": ((2, 3, 4), (4, 2)),
    "ij,jk,kl->il": ((2, 3), (3, 4), (4, 5)), "bij,bjk,bk->i": ((2, 3, 4), (2, 4, 5), (2, 5)),
    "ab,cd->acbd": ((2, 3), (4, 5)), "i...->...": ((3, 4, 5),), "ij,j->i": ((4, 3), (3,)), "abc,cd->bad": ((2, 3, 4), (4, 2)),
}

SUMS = {
    **{f"cumsum{name}": case for name, case in cumulative(tf.cumsum, cumsum, kinds="fi").items()},
    "cumsum/empty": Case(lambda x: tf.cumsum(x, 1, exclusive=True), lambda np, x: x, (((0, 4),), ((4, 0),)), kinds="fi"),
    **{f"cumprod{name}": case for name, case in cumulative(tf.math.cumprod, cumprod, 1, low=0.5, high=1.4).items()},
    "cumprod/int32": Case(tf.math.cumprod, lambda np, x: np.cumprod(x, 0, dtype=x.dtype), (((5, 3),),), kinds="i"),
    **{f"cumulative_logsumexp{name}": case for name, case in cumulative(
        tf.math.cumulative_logsumexp, cumulative_logsumexp).items() if "exclusive" not in name},
    "reduce_prod": Case(lambda x: tf.reduce_prod(x, 1), lambda np, x: np.prod(x, 1, dtype=x.dtype), MATRIX + RANK3, 0.5, 1.4,
                        kinds="fiu"),
    "reduce_prod/all axes": Case(tf.reduce_prod, lambda np, x: np.prod(x), (((2, 3),), ((),), ((3, 1, 2),)), 0.5, 1.4),
    "reduce_prod/outer axes": Case(lambda x: tf.reduce_prod(x, (0, 2), keepdims=True),
                              lambda np, x: np.prod(x, (0, 2), keepdims=True), RANK3, 0.5, 1.4),
    "reduce_prod/zeros": Case(lambda x: tf.reduce_prod(tf.nn.relu(x), 1), lambda np, x: np.prod(np.maximum(x, 0), 1),
                              (((6, 3),),), kinds="f"),
    **{f"einsum/{equation}": einsum(equation, *shapes) for equation, shapes in EQUATIONS.items()},
    "einsum/int32": einsum("ij,jk->ik", (2, 3), (3, 4), kinds="i"),
    # ── creation and repetition ──
    "linspace": Case(lambda: tf.linspace(-1.0, 2.0, 7), lambda np: np.linspace(-1, 2, 7, dtype="float32"), ((),)),
    "linspace/num is 1": Case(lambda x: tf.linspace(x, 5.0 * x, 1), lambda np, x: np.reshape(x, (1,)), (((),),)),
    "linspace/tensor bounds": Case(lambda x, y: tf.linspace(x, y, 4), lambda np, x, y: np.linspace(x, y, 4), (((), ()),)),
    "eye": Case(lambda x: tf.eye(3, 4, dtype=x.dtype) * x, lambda np, x: np.eye(3, 4, dtype=x.dtype) * x,
                (((3, 4),), ((1, 4),)), kinds="fi"),
    "eye/batch": Case(lambda: tf.eye(2, batch_shape=[3]), lambda np: np.stack([np.eye(2, dtype="float32")] * 3), ((),)),
    "repeat": Case(lambda x: tf.repeat(x, 3, axis=1), lambda np, x: np.repeat(x, 3, 1), MATRIX, kinds="fib"),
    "repeat/flattened": Case(lambda x: tf.repeat(x, 2), lambda np, x: np.repeat(x, 2), MATRIX[:3] + (((),),)),
    "repeat/count per index": Case(lambda x: tf.repeat(x, [2, 0, 3], axis=0), lambda np, x: np.take(
        x, np.array([0, 0, 2, 2, 2]), 0), (((3, 2),), ((3,),)), kinds="fi"),
    "roll": Case(lambda x: tf.roll(x, 2, 0), lambda np, x: np.roll(x, 2, 0), MATRIX + (((7,),),), kinds="fib"),
    "roll/two axes": Case(lambda x: tf.roll(x, [-1, 4], [0, 1]), lambda np, x: np.roll(x, (-1, 4), (0, 1)), MATRIX),
    "meshgrid": Case(lambda x, y: tf.meshgrid(x, y), lambda np, x, y: np.meshgrid(x, y), (((3,), (4,)),)),
    "meshgrid/ij": Case(lambda x, y, z: tf.meshgrid(x, y, z, indexing="ij"),
                        lambda np, x, y, z: np.meshgrid(x, y, z, indexing="ij"), (((3,), (1,), (2,)),)),
    "sequence_mask": Case(lambda i: tf.sequence_mask(i, 4), lambda np, i: np.arange(4) < i[..., None], (
        (Indices((5,), 0, 6),), (Indices((2, 3), 0, 6),))),
    # ── matrices ──
    "band_part": Case(lambda x: tf.linalg.band_part(x, 1, 0), lambda np, x: np.tril(np.triu(x, -1), 0), MATRIX + RANK3,
                      kinds="fi"),
    "band_part/lower triangle": Case(lambda x: tf.linalg.band_part(x, -1, 0), lambda np, x: np.tril(x), MATRIX),
    "diag": Case(tf.linalg.diag, lambda np, x: x[..., None] * np.eye(x.shape[-1], dtype=x.dtype),
                 (((3,),), ((2, 3),), ((1,),), ((0,),)), kinds="fi"),
    "diag_part": Case(tf.linalg.diag_part, lambda np, x: np.diagonal(x, 0, -2, -1), MATRIX + RANK3, kinds="fib"),
    "trace": Case(tf.linalg.trace, lambda np, x: np.trace(x, 0, -2, -1, dtype=x.dtype), (((3, 3),), ((2, 3, 4),)), kinds="fi"),
    "matrix_transpose": Case(tf.linalg.matrix_transpose, lambda np, x: np.swapaxes(x, -1, -2), RANK3),
    "matvec": Case(tf.linalg.matvec, lambda np, x, y: np.einsum("...ij,...j->...i", x, y),
                   (((3, 4), (4,)), ((2, 3, 4), (2, 4)), ((2, 3, 4), (4,)))),
    "norm": Case(lambda x: tf.norm(x, axis=-1), lambda np, x: np.sqrt(np.sum(x * x, -1)), (((3, 5),), ((7,),)), 0.5, 2),
    "norm/all axes": Case(tf.norm, lambda np, x: np.sqrt(np.sum(x * x)), (((3, 5),), ((2, 2, 2),))),
    "norm/matrices": Case(lambda x: tf.norm(x, axis=[-2, -1], keepdims=True), lambda np, x: np.sqrt(
        np.sum(x * x, (-2, -1), keepdims=True)), (((2, 3, 5),),)),
    "norm/ord 1": Case(lambda x: tf.norm(x, 1, axis=0), lambda np, x: np.sum(abs(x), 0), (((3, 5),),)),
    "norm/ord inf": Case(lambda x: tf.norm(x, float("inf"), 1), lambda np, x: np.max(abs(x), 1), (((3, 5),),)),
    "norm/ord 3": Case(lambda x: tf.norm(x, 3, 1), lambda np, x: np.power(np.sum(np.power(abs(x), 3.0), 1), 1 / 3),
                             (((3, 5),),), 0.5, 2),
    "clip_by_norm": Case(lambda x: tf.clip_by_norm(x, 2.0), lambda np, x: x * np.minimum(1, 2 / np.sqrt(np.sum(x * x))),
                         (((3, 5),), ((2,),))),
    "clip_by_norm/rows": Case(lambda x: tf.clip_by_norm(x, 2.0, 1), lambda np, x: x * np.minimum(
        1, 2 / np.sqrt(np.sum(x * x, 1, keepdims=True))), (((7, 3),),)),
    "clip_by_global_norm": Case(lambda x, y: tf.clip_by_global_norm([x, None, y], 1.5)[0][::2], lambda np, x, y: [
        z * 1.5 / np.sqrt(np.sum(x * x) + np.sum(y * y)) for z in (x, y)], (((3, 5), (4,)),)),
    # ── gather and scatter ──
    "gather/batch": Case(lambda x, i: tf.gather(x, i, batch_dims=1), lambda np, x, i: np.take_along_axis(x, i, 1), (
        ((4, 5), Indices((4, 3), 0, 5)), ((1, 3), Indices((1, 1), 0, 3)), ((0, 3), Indices((0, 2), 0, 3)))),
    "gather/batch and axis": Case(lambda x, i: tf.gather(x, i, axis=2, batch_dims=1), lambda np, x, i: np.stack(
        [np.take(row, at, 1) for row, at in zip(x, i)]), (((2, 3, 5, 2), Indices((2, 4), 0, 5)),), kinds="fi"),
    "gather/batch, one index": Case(lambda x, i: tf.gather(x, i, batch_dims=1), lambda np, x, i: x[np.arange(4), i],
                              (((4, 5), Indices((4,), 0, 5)), ((4, 5, 2), Indices((4,), 0, 5)))),
    "gather_nd": Case(tf.gather_nd, lambda np, x, i: x[i[..., 0], i[..., 1]], (
        ((3, 4), Indices((5, 2), 0, 3)), ((3, 4, 2), Indices((2, 1, 2), 0, 3)), ((3, 4), Indices((0, 2), 0, 3))), kinds="fib"),
    "scatter_nd": Case(lambda x, i: tf.scatter_nd(i, x, (3, 4)), lambda np, x, i: np.segment_sum(x, i[:, 0], 3), (
        ((5, 4), Indices((5, 1), -1, 4)), ((0, 4), Indices((0, 1), 0, 3))), kinds="fi"),
    "tensor_scatter_nd_add": Case(lambda x, i, y: tf.tensor_scatter_nd_add(x, i, y), lambda np, x, i, y: x + np.reshape(
        np.segment_sum(y, i[:, 0] * 4 + i[:, 1], 12), (3, 4)), (((3, 4), Indices((5, 2), 0, 3), (5,)),), kinds="fi"),
    "unsorted_segment_sum": Case(lambda x, i: tf.math.unsorted_segment_sum(x, i, 3), lambda np, x, i: np.segment_sum(
        np.reshape(x, (6, 4)), np.reshape(i, (6,)), 3), (((2, 3, 4), Indices((2, 3), -1, 4)),), kinds="fi"),
    "unsorted_segment_mean": Case(
        lambda x, i: tf.math.unsorted_segment_mean(x, i, 9), lambda np, x, i: np.segment_sum(x, i, 9) / np.maximum(
            np.segment_sum(np.ones(6), i, 9), 1)[:, None], (((6, 3), Indices((6,), 0, 9)),)),
    "confusion_matrix": Case(lambda i, j: tf.math.confusion_matrix(i, j, 3), lambda np, i, j: np.segment_sum(
        np.ones(9, "int32"), i * 3 + j, 9).reshape(3, 3), ((Indices((9,), 0, 3), Indices((9,), 0, 3)),)),
    "squared_difference": Case(tf.math.squared_difference, lambda np, x, y: (x - y) * (x - y), BINARY, kinds="fi"),
    "divide_no_nan": Case(lambda x, y: tf.math.divide_no_nan(x, tf.floor(y)), lambda np, x, y: np.where(
        np.floor(y) == 0, 0, x / np.where(np.floor(y) == 0, 1, np.floor(y))), BINARY, finite_differences=False),
    "size": Case(lambda x: [tf.size(x), tf.rank(x)], lambda np, x: [np.array(x.size, "int32"), np.array(x.ndim, "int32")],
                 UNARY, kinds="fi", differentiable=False),
}
