"""Op cases of sorting, top-k, and the passes of the radix sort."""
import tensorbrook as tf
from op_case import RANK3, MATRIX, Case, Indices
from tensorbrook.ops import sort_primitives

ROWS = (((3, 5),), ((1, 1),), ((7,),), ((4, 0),), ((0, 4),), ((2, 3, 50),), ((3, 301),))


def values_and_indices(np, x, order):
    return [np.take_along_axis(x, order, -1), order.astype("int32")]


def descending(np, x, k=None):
    """The stable descending order, as a stable ascending sort of the negated elements."""
    negatable = x.astype("int64") if x.dtype.kind in "iub" else x      # -x of the lowest int32
    return np.argsort(-negatable, -1, stable=True)[..., :k]


ORDERS = {
    "sort": Case(lambda x: [tf.sort(x), tf.argsort(x)], lambda np, x: values_and_indices(np, x, np.argsort(x, -1, stable=True)),
                 ROWS, kinds="fiub", exact=True),
    "sort/descending": Case(lambda x: [tf.sort(x, direction="DESCENDING"), tf.argsort(x, direction="DESCENDING")],
                            lambda np, x: values_and_indices(np, x, descending(np, x)), ROWS, kinds="fiub", exact=True),
    "sort/first axis": Case(lambda x: tf.sort(x, axis=0), lambda np, x: np.sort(x, 0), MATRIX + RANK3, kinds="fi",
                            exact=True),
    "sort/middle axis": Case(lambda x: tf.argsort(x, axis=-2), lambda np, x: np.argsort(x, -2).astype("int32"),
                             RANK3, differentiable=False),
    "sort/long": Case(lambda x: tf.sort(x, direction="DESCENDING"),
                      lambda np, x: np.take_along_axis(x, descending(np, x), -1), (((70001,),), ((2, 65537),)),
                      kinds="fi", exact=True, finite_differences=False),
    "radix_keys": Case(lambda x: sort_primitives.radix_keys(x, descending=False), lambda np, x: np.radix_keys(x),
                       (((2, 7),), ((1,),), ((2, 3, 0),), ((3, 1031),)), -9, 9, kinds="fi", differentiable=False),
    "radix_keys/descending": Case(lambda x: sort_primitives.radix_keys(x, descending=True),
                                  lambda np, x: np.radix_keys(x) ^ np.array([0, -1], "int32"), (((2, 7),),), -9, 9,
                                  kinds="fi", differentiable=False),
    "radix_histogram": Case(lambda x: sort_primitives.radix_histogram(x, digit=1, chunks=3), lambda np, x: np.radix_histogram(x, 1, 3),
                       ((Indices((2, 7, 2), -2**31, 2**31),), (Indices((1, 500, 2), -900, 900),),
                        (Indices((0, 3, 2), 0, 9),)), differentiable=False),
    "radix_scatter": Case(lambda x: sort_primitives.radix_scatter(x, sort_primitives.radix_histogram(x, digit=2, chunks=3), digit=2),
                       lambda np, x: np.radix_scatter(x, 2),
                       ((Indices((2, 7, 2), -2**31, 2**31),), (Indices((1, 500, 2), -2**19, 2**19),),
                        (Indices((0, 3, 2), 0, 9),)), differentiable=False),
    "top_k": Case(lambda x: [*tf.math.top_k(x, 2)], lambda np, x: values_and_indices(np, x, descending(np, x, 2)),
                  (((3, 17),), ((40,),), ((0, 30),), ((2, 3, 50),), ((3, 301),), ((1, 70001),)), kinds="fiu", exact=True),
    "top_k/most of the row": Case(lambda x: [*tf.math.top_k(x, 3)], lambda np, x: values_and_indices(np, x, descending(np, x, 3)),
                       (((3, 5),), ((3,),)), kinds="fi", exact=True),
    "top_k/k is 0": Case(lambda x: [*tf.math.top_k(x, 0)], lambda np, x: values_and_indices(np, x, descending(np, x, 0)), MATRIX[:2]),
    "in_top_k": Case(lambda i, x: tf.math.in_top_k(i, x, 2), lambda np, i, x: np.sum(
        x > np.take_along_axis(x, i[:, None], 1), 1) < 2,
        ((Indices((4,), 0, 5), (4, 5)), (Indices((30,), 0, 3), (30, 3)), (Indices((0,), 0, 3), (0, 3))), differentiable=False),
}
