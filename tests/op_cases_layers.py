"""Op cases of normalization, transposed convolution and embedding lookup."""
import tensorbrook as tf
from op_case import Case, Indices
from tensorbrook.ops.normalization import normalize


def moments(axes, shapes, **options):
    keepdims = options.get("keepdims", False)
    return Case(lambda x: tf.nn.moments(x, axes, **options), lambda np, x: [
        np.mean(x, axes, keepdims=keepdims), np.var(x, axes, keepdims=keepdims)], shapes)


LAYERS = {
    "moments": moments((0,), (((5, 3),), ((1, 1),), ((7,),), ((200, 3),), ((33, 2, 5),))),
    "moments/last axis": moments((-1,), (((5, 3),), ((2, 3, 7),), ((1, 1),), ((13, 301),)), keepdims=True),
    "moments/batch and image axes": moments((0, 1, 2), (((2, 3, 4, 5),), ((19, 2, 1, 3),), ((1, 5, 7, 2),))),
    "moments/all axes": moments((0, 1), (((5, 3),), ((1, 1),), ((40, 50),))),
    "batch_normalization": Case(
        lambda x, m, v, o, s: tf.nn.batch_normalization(x, m, v, o, s, 0.1),
        lambda np, x, m, v, o, s: (x - m) / np.sqrt(v + 0.1) * s + o,
        (((2, 3, 4), (4,), (4,), (4,), (4,)), ((7, 1), (1,), (1,), (1,), (1,)), ((0, 3), (3,), (3,), (3,), (3,)),
         ((2, 3, 5), (3, 1), (3, 1), (3, 1), (3, 1))), 0.1, 2),
    "batch_normalization/no scale or offset": Case(
        lambda x, m, v: tf.nn.batch_normalization(x, m, v, None, None, 0.1),
        lambda np, x, m, v: (x - m) / np.sqrt(v + 0.1), (((5, 3), (3,), (3,)),), 0.1, 2),
    "normalize": Case(lambda x, o, s: normalize(x, (0, 1), o, s, 0.1), lambda np, x, o, s: [
        (x - np.mean(x, (0, 1))) / np.sqrt(np.var(x, (0, 1)) + 0.1) * s + o,
        np.mean(x, (0, 1), keepdims=True), np.var(x, (0, 1), keepdims=True)],
        (((3, 2, 4), (4,), (4,)), ((40, 3, 2), (2,), (2,)))),
    "normalize/rows": Case(lambda x, o, s: normalize(x, (1,), o, s, 0.1)[0], lambda np, x, o, s: (
        x - np.mean(x, 1, keepdims=True)) / np.sqrt(np.var(x, 1, keepdims=True) + 0.1) * s + o,
        (((3, 5), (5,), (5,)), ((13, 301), (301,), (301,)))),
    "conv2d_transpose": Case(lambda x, w: tf.nn.conv2d_transpose(x, w, (2, 7, 5, 3), (2, 1)),
                             lambda np, x, w: np.conv2d_transpose(x, w, (2, 7, 5, 3), (2, 1)),
                             (((2, 4, 5, 2), (3, 2, 3, 2)),)),
    "embedding_lookup": Case(tf.nn.embedding_lookup, lambda np, x, i: x[i], (
        ((5, 3), Indices((2, 4), 0, 5)), ((7,), Indices((3,), 0, 7)), ((4, 2, 3), Indices((), 0, 4)),
        ((4, 64), Indices((3, 0), 0, 4)), ((11, 130), Indices((29,), 0, 11))), kinds="fiub", exact=True),
}
