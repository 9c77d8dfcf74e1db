"""Error messages of operations: one sentence with the op, the values and a hint."""
import numpy as np
import pytest

import tensorbrook as tf

pytestmark = pytest.mark.usefixtures("backend")

ERRORS = [
    (lambda: tf.ones((2, 3)) + tf.ones((4, 3)),
     "add: shapes (2, 3) and (4, 3) do not broadcast at axis -2; sizes 2 and 4 must be equal, "
     "or one of them must be 1"),
    (lambda: tf.ones((2, 3)) * tf.ones((2,)),
     "multiply: shapes (2, 3) and (2,) do not broadcast at axis -1; sizes 2 and 3 must be "
     "equal, or one of them must be 1"),
    (lambda: tf.ones((2,)) + tf.constant([1, 2]),
     "add: dtypes differ: float32 and int32; convert one with tf.cast(x, tf.float32)"),
    (lambda: tf.constant([1, 2]) + 0.5,
     "add: cannot convert 0.5 to the tensor's dtype int32; convert the tensor with tf.cast(x, "
     "tf.float32)"),
    (lambda: tf.constant([1, 2]) + 1.0,
     "add: cannot convert 1.0 to the tensor's dtype int32; convert the tensor with tf.cast(x, "
     "tf.float32)"),
    (lambda: tf.exp(tf.constant([1, 2])),
     "exp: int32 is not supported; use tf.cast to one of float16, float32, float64"),
    (lambda: tf.constant([1, 2]) & tf.ones(2),
     "bitwise_and: dtypes differ: int32 and float32; convert one with tf.cast(x, tf.int32)"),
    (lambda: tf.matmul(tf.ones((2, 3)), tf.ones((4, 2))),
     "matmul: inner sizes 3 and 4 differ: (2, 3) @ (4, 2); the columns of a must equal the "
     "rows of b"),
    (lambda: tf.matmul(tf.ones((2, 3)), tf.ones((4, 3))),
     "matmul: inner sizes 3 and 4 differ: (2, 3) @ (4, 3); the columns of a must equal the "
     "rows of b; did you mean transpose_b=True?"),
    (lambda: tf.matmul(tf.ones((3, 2)), tf.ones((3, 4))),
     "matmul: inner sizes 2 and 3 differ: (3, 2) @ (3, 4); the columns of a must equal the "
     "rows of b; did you mean transpose_a=True?"),
    (lambda: tf.matmul(tf.ones((2, 3)), tf.ones(3)),
     "matmul: shapes (2, 3) and (3,) are not both matrices; each needs rank 2 or more; "
     "reshape vectors to (n, 1) or (1, n)"),
    (lambda: tf.matmul(tf.constant([[1]]), tf.constant([[1]])),
     "matmul: int32 is not supported; use tf.cast to float32"),
    (lambda: tf.matmul(tf.ones((2, 3, 4)), tf.ones((5, 6))),
     "matmul: inner sizes 4 and 5 differ: (2, 3, 4) @ (2, 5, 6); the columns of a must equal "
     "the rows of b"),
    (lambda: tf.matmul(tf.ones((2, 3, 4)), tf.ones((3, 4, 5))),
     "matmul: the batch axes of (2, 3, 4) @ (3, 4, 5) differ: (2,) and (3,); their sizes must "
     "be equal, or one of them must be 1"),
    (lambda: tf.reshape(tf.ones(6), (4,)),
     "reshape: cannot reshape 6 elements to (4,); the product of the sizes must be 6"),
    (lambda: tf.reshape(tf.ones(6), (-1, -1)),
     "reshape: shape (-1, -1) has more than one -1; use -1 for one size only"),
    (lambda: tf.reshape(tf.ones(6), (4, -1)),
     "reshape: cannot reshape 6 elements to (4, -1); the product of the sizes must be 6"),
    (lambda: tf.reshape(tf.ones(6), (2.5, -1)),
     "reshape: 2.5 in shape (2.5, -1) is not a size; use ints of 0 or more"),
    (lambda: tf.reshape(tf.ones(0), (0, -1)),
     "reshape: cannot reshape 0 elements to (0, -1); the product of the sizes must be 0"),
    (lambda: tf.transpose(tf.ones((2, 3)), (0, 0)),
     "transpose: perm (0, 0) is not a permutation of the axes of shape (2, 3); name each of 0 "
     "to 1 once"),
    (lambda: tf.transpose(tf.ones((2, 3)), (0, 1, 2)),
     "transpose: axis 2 is out of range for a tensor of rank 2; use -2 to 1"),
    (lambda: tf.reduce_sum(tf.ones((2, 3)), 2),
     "reduce_sum: axis 2 is out of range for a tensor of rank 2; use -2 to 1"),
    (lambda: tf.reduce_sum(tf.ones((2, 3)), (0, 0)),
     "reduce_sum: axes (0, 0) contain a duplicate; name each axis once"),
    (lambda: tf.reduce_sum(tf.ones(()), 0),
     "reduce_sum: axis 0 is out of range for a tensor of rank 0; a scalar has no axes"),
    (lambda: tf.reduce_sum(tf.ones((2, 3)), 1.5),
     "reduce_sum: axis 1.5 is not an integer; pass an int"),
    (lambda: tf.reduce_sum(tf.ones((2, 3)), "last"),
     "reduce_sum: axis 'last' is not an integer; pass an int"),
    (lambda: tf.reduce_sum(tf.constant([True])),
     "reduce_sum: bool is not supported; use tf.cast first"),
    (lambda: tf.argmax(tf.zeros((0, 3))),
     "argmax: axis 0 of shape (0, 3) is empty; use an axis with at least one element"),
    (lambda: tf.broadcast_to(tf.ones((2, 3)), (2, 4)),
     "broadcast_to: shapes (2, 3) and (2, 4) do not broadcast at axis -1; sizes 3 and 4 must "
     "be equal, or one of them must be 1"),
    (lambda: tf.broadcast_to(tf.ones((2, 3)), (3,)),
     "broadcast_to: shape (2, 3) does not broadcast to (3,); sizes must be equal or 1, "
     "aligned on the right"),
    (lambda: tf.concat([tf.ones((2, 3)), tf.ones((3, 2))], 0),
     "concat: shapes (2, 3) and (3, 2) differ in an axis other than 0; only the size along "
     "the axis may differ"),
    (lambda: tf.concat([], 0),
     "concat: there are no tensors; pass at least one tensor"),
    (lambda: tf.concat([tf.ones(2), tf.constant([1])], 0),
     "concat: dtypes differ: float32 and int32; convert one with tf.cast(x, tf.float32)"),
    (lambda: tf.stack([]),
     "stack: there are no tensors; pass at least one tensor"),
    (lambda: tf.stack([tf.ones(2), tf.ones(3)]),
     "stack: shapes (2,) and (3,) differ; all tensors must have the same shape"),
    (lambda: tf.add_n([]),
     "add_n: there are no tensors; pass at least one tensor"),
    (lambda: tf.split(tf.ones((5, 2)), 2),
     "split: axis 0 of size 5 does not divide into 2 equal parts; use a divisor, or a list of "
     "sizes"),
    (lambda: tf.split(tf.ones((5, 2)), (1, 2)),
     "split: sizes [1, 2] do not add up to 5; axis 0 has size 5"),
    (lambda: tf.split(tf.ones((5, 2)), 2, axis=3),
     "split: axis 3 is out of range for a tensor of rank 2; use -2 to 1"),
    (lambda: tf.slice(tf.ones((3,)), (2,), (2,)),
     "slice: begin (2,) and size (2,) exceed shape (3,); begin[i] + size[i] may be at most "
     "the size of axis i"),
    (lambda: tf.ones((2, 3))[2],
     "getitem: index 2 is out of range for axis 0 of shape (2, 3); use -2 to 1"),
    (lambda: tf.ones((2, 3))[0, 0, 0],
     "getitem: 3 indices for shape (2, 3); use at most 2, one per axis"),
    (lambda: tf.ones((2, 3))[0.5],
     "getitem: 0.5 is not an index; use ints, slices, None or ..."),
    (lambda: tf.ones((2, 3))["a"],
     "getitem: 'a' is not an index; use ints, slices, None or ..."),
    (lambda: tf.ones((2, 3))[tf.constant(1.5)],
     "gather: indices are float32, not int32; use tf.cast(indices, tf.int32)"),
    (lambda: tf.gather(tf.ones(3), [0.5]),
     "gather: indices are float32, not int32; use tf.cast(indices, tf.int32)"),
    (lambda: tf.gather(tf.ones(3), [0], axis=1),
     "gather: axis 1 is out of range for a tensor of rank 1; use -1 to 0"),
    (lambda: tf.squeeze(tf.ones((2, 3)), 0),
     "squeeze: axis 0 of shape (2, 3) has size 2; only an axis of size 1 can be removed"),
    (lambda: tf.expand_dims(tf.ones((2, 3)), 4),
     "expand_dims: axis 4 is out of range for a tensor of rank 3; use -3 to 2"),
    (lambda: tf.tile(tf.ones((2, 3)), (2,)),
     "tile: multiples (2,) do not match shape (2, 3); pass one number per axis"),
    (lambda: tf.pad(tf.ones(3), ((1, 1), (0, 0))),
     "pad: paddings [(1, 1), (0, 0)] do not match shape (3,); pass a pair of non-negative "
     "ints for each axis"),
    (lambda: tf.pad(tf.ones(3), ((1, -1),)),
     "pad: paddings [(1, -1)] do not match shape (3,); pass a pair of non-negative ints for "
     "each axis"),
    (lambda: tf.pad(tf.ones(3), ((1, 1),), mode="REFLECT"),
     'pad: unsupported mode \'REFLECT\'; use mode="CONSTANT"'),
    (lambda: tf.where(tf.ones(2), 1.0, 2.0),
     "where: the condition is float32, not bool; use a comparison: x != 0"),
    (lambda: tf.where([True], tf.ones(1), tf.constant([1])),
     "where: dtypes differ: float32 and int32; convert one with tf.cast(x, tf.float32)"),
    (lambda: tf.cast(tf.ones(2), "bfloat16"),
     "dtype: 'bfloat16' is not a supported dtype; use one of bool, uint8, int32, float16, "
     "float32, float64"),
    (lambda: tf.cast(tf.ones(2), "complex64"),
     "dtype: 'complex64' is not a supported dtype; use one of bool, uint8, int32, float16, "
     "float32, float64"),
    (lambda: tf.constant([[1, 2], [3]]),
     "constant: rows differ in shape: (2,) and (1,); give every row the same number of "
     "elements"),
    (lambda: tf.constant("text"),
     "constant: cannot convert str to a tensor; pass numbers, nested lists of numbers, or an "
     "array"),
    (lambda: tf.constant([1, "a"]),
     "constant: str 'a' is not a number; pass numbers, nested lists of numbers, or an "
     "array"),
    (lambda: tf.constant([None]),
     "constant: NoneType None is not a number; pass numbers, nested lists of numbers, or "
     "an array"),
    (lambda: tf.constant(None),
     "constant: cannot convert NoneType to a tensor; pass numbers, nested lists of numbers, "
     "or an array"),
    (lambda: tf.constant(300, tf.uint8),
     "constant: 300 is out of range for uint8; the range is 0 to 255"),
    (lambda: tf.constant(1.5, tf.int32),
     "constant: 1.5 is not an integer, but dtype is int32; use tf.cast to round, or a float "
     "dtype"),
    (lambda: tf.constant(2**40),
     "constant: 1099511627776 is out of range for int32; the range is -2147483648 to "
     "2147483647"),
    (lambda: tf.constant(object()),
     "constant: cannot convert object to a tensor; pass numbers, nested lists of numbers, or "
     "an array"),
    (lambda: tf.constant([1, 2, 3], shape=(2, 2)),
     "reshape: cannot reshape 3 elements to (2, 2); the product of the sizes must be 3"),
    (lambda: tf.Variable([1., 2.]).assign([1., 2., 3.]),
     "assign to Variable: the Variable is float32[2], but the new value is float32[3]; shape "
     "and dtype must stay the same"),
    (lambda: tf.Variable([1., 2.], name="w").assign(tf.constant([1, 2])),
     "assign to w: the Variable is float32[2], but the new value is int32[2]; shape and dtype "
     "must stay the same"),
    (lambda: tf.Variable([1, 2]).assign([0.5, 1.5]),
     "constant: 0.5 is not an integer, but dtype is int32; use tf.cast to round, or a float "
     "dtype"),
    (lambda: tf.nn.conv2d(tf.ones((1, 5, 5, 3)), tf.ones((3, 3, 2, 4))),
     "conv2d: input (1, 5, 5, 3) and filter (3, 3, 2, 4) differ in channels; the third size "
     "of the filter must be 3, or 3 / groups where groups divides the last size"),
    (lambda: tf.nn.conv2d(tf.ones((1, 5, 5, 3)), tf.ones((3, 3, 3))),
     "conv2d: the filter has shape (3, 3, 3); it must be (height, width, channels in, "
     "channels out)"),
    (lambda: tf.nn.conv2d(tf.ones((5, 5, 3)), tf.ones((3, 3, 3, 4))),
     "conv2d: the input has shape (5, 5, 3); it must be (batch, height, width, channels)"),
    (lambda: tf.nn.conv2d(tf.ones((1, 2, 2, 3)), tf.ones((3, 3, 3, 4))),
     'conv2d: a window of effective size 3 exceeds the input size 2; use padding="SAME", a '
     "smaller window, or a larger input"),
    (lambda: tf.nn.conv2d(tf.ones((1, 5, 5, 3)), tf.ones((3, 3, 3, 4)), strides=0),
     "conv2d: strides 0 is not one or two positive ints; for example strides=1 or strides=(2, "
     "2)"),
    (lambda: tf.nn.conv2d(tf.ones((1, 5, 5, 3)), tf.ones((3, 3, 3, 4)), strides=(1, 2, 3)),
     "conv2d: strides (1, 2, 3) is not one or two positive ints; for example strides=1 or "
     "strides=(2, 2)"),
    (lambda: tf.nn.conv2d(tf.ones((1, 5, 5, 3)), tf.ones((3, 3, 3, 4)), padding="FULL"),
     'conv2d: unknown padding \'FULL\'; use "SAME" or "VALID"'),
    (lambda: tf.nn.conv2d(tf.ones((1, 5, 5, 3)), tf.ones((3, 3, 3, 4)), padding=3),
     'conv2d: unknown padding 3; use "SAME" or "VALID"'),
    (lambda: tf.nn.conv2d(tf.constant([[[[1]]]]), tf.ones((1, 1, 1, 1))),
     "conv2d: int32 is not supported; use tf.cast to float32"),
    (lambda: tf.nn.conv2d(tf.ones((1, 5, 5, 3)), tf.ones((3, 3, 0, 4))),
     "conv2d: input (1, 5, 5, 3) and filter (3, 3, 0, 4) differ in channels; the third size "
     "of the filter must be 3, or 3 / groups where groups divides the last size"),
    (lambda: tf.nn.max_pool2d(tf.ones((1, 2, 2, 1)), 3),
     'max_pool2d: a window of effective size 3 exceeds the input size 2; use padding="SAME", '
     "a smaller window, or a larger input"),
    (lambda: tf.nn.max_pool2d(tf.ones((1, 2, 2, 1)), 0),
     "max_pool2d: ksize 0 is not one or two positive ints; for example ksize=1 or ksize=(2, "
     "2)"),
    (lambda: tf.nn.max_pool2d(tf.ones((2, 2, 1)), 2),
     "max_pool2d: the input has shape (2, 2, 1); it must be (batch, height, width, "
     "channels)"),
    (lambda: tf.nn.depthwise_conv2d(tf.ones((1, 4, 4, 3)), tf.ones((3, 3, 2, 1))),
     "depthwise_conv2d: filter (3, 3, 2, 1) does not match input (1, 4, 4, 3); it must be "
     "(height, width, 3, multiplier)"),
    (lambda: tf.nn.depthwise_conv2d(tf.ones((1, 4, 4, 3)), tf.ones((3, 3, 2))),
     "depthwise_conv2d: filter (3, 3, 2) does not match input (1, 4, 4, 3); it must be "
     "(height, width, 3, multiplier)"),
    (lambda: tf.nn.bias_add(tf.ones((2, 3)), tf.ones(2)),
     "bias_add: bias (2,) does not match (2, 3); it must have shape (3,)"),
    (lambda: tf.nn.dropout(tf.ones(2), 1.0),
     "dropout: rate is 1.0; use a rate in the range [0, 1)"),
    (lambda: tf.nn.dropout(tf.ones(2), rate=-0.5),
     "dropout: rate is -0.5; use a rate in the range [0, 1)"),
    (lambda: tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1], tf.ones((3, 4))),
     "sparse_softmax_cross_entropy_with_logits: labels (2,) do not match logits (3, 4); "
     "labels must have shape (3,)"),
    (lambda: tf.nn.sparse_softmax_cross_entropy_with_logits([0.0, 1.0], tf.ones((2, 4))),
     "sparse_softmax_cross_entropy_with_logits: labels are float32; they must be class "
     "indices; use tf.cast(labels, tf.int32)"),
    (lambda: tf.nn.softmax(tf.ones(3), axis=1),
     "reduce_max: axis 1 is out of range for a tensor of rank 1; use -1 to 0"),
    (lambda: tf.nn.softmax(tf.constant([1, 2])),
     "exp: int32 is not supported; use tf.cast to one of float16, float32, float64"),
    (lambda: tf.tensordot(tf.ones((2, 3)), tf.ones((4,)), 1),
     "tensordot: axes (1,) of (2, 3) and (0,) of (4,) differ in size; contract axes of equal "
     "size"),
    (lambda: tf.one_hot([0.5], 3),
     "one_hot: indices are float32, not int32; use tf.cast(indices, tf.int32)"),
    (lambda: tf.one_hot([1], -1),
     "one_hot: -1 in shape (-1,) is not a size; use ints of 0 or more"),
    (lambda: tf.one_hot([1], "three"),
     "one_hot: 'three' in shape ('three',) is not a size; use ints of 0 or more"),
    (lambda: tf.math.unsorted_segment_sum(tf.ones((3, 2)), [0, 1], 2),
     "unsorted_segment_sum: segment_ids (2,) do not match data (3, 2); they must have the "
     "shape of the first axes of data"),
    (lambda: tf.math.segment_sum(tf.ones(3), [0, 2, 1]),
     "segment_sum: segment_ids are [0, 2, 1]; they must be sorted and non-negative, or use "
     "tf.math.unsorted_segment_sum"),
    (lambda: tf.gather(tf.ones((2, 3)), tf.zeros((3, 1), tf.int32), batch_dims=1),
     "gather: indices (3, 1) do not match params (2, 3) for batch_dims 1 and axis 1; the "
     "first batch_dims sizes must be equal, and axis must come after them"),
    (lambda: tf.gather_nd(tf.ones((2, 3)), [[0, 1, 2]]),
     "gather_nd: indices are int32[1,3] for shape (2, 3); they must be integers, with a last "
     "axis of size 1 to 2"),
    (lambda: tf.scatter_nd([[0], [1]], tf.ones((2, 2)), (4, 3)),
     "scatter_nd: updates have shape (2, 2); for these indices and shape (4, 3) they must "
     "have shape (2, 3)"),
    (lambda: tf.cumsum(tf.ones((2, 3)), axis=2),
     "cumsum: axis 2 is out of range for a tensor of rank 2; use -2 to 1"),
    (lambda: tf.cumsum([True]),
     "cumsum: bool is not supported; use tf.cast to int32 or float32"),
    (lambda: tf.einsum("ij,jk->ik", tf.ones((2, 3)), tf.ones((4, 5))),
     "einsum: axis 'j' has the sizes 3 and 4 in 'ij,jk->ik'; all axes with the same letter "
     "must have the same size"),
    (lambda: tf.einsum("ij,jk->ik", tf.ones((2, 3))),
     "einsum: there are 2 terms for 1 tensors in 'ij,jk->ik'; write one term per tensor, "
     "separated by commas"),
    (lambda: tf.einsum("ij->ik", tf.ones((2, 3))),
     "einsum: axis 'k' of the result is in no operand in 'ij->ik'; use each axis of the "
     "result once, and in a term before ->"),
    (lambda: tf.einsum("ii->i", tf.ones((2, 2))),
     "einsum: 'ii' has the same axis twice in 'ii->i'; take the diagonal first, with "
     "tf.linalg.diag_part"),
    (lambda: tf.einsum("ijk->i", tf.ones((2, 2))),
     "einsum: 'ijk' does not match a tensor with 2 axes in 'ijk->i'; use 2 letters, or ... "
     "for the other axes"),
    (lambda: tf.linspace(0.0, 1.0, 0),
     "linspace: 0 in shape (0,) is not a size; use ints of 0 or more"),
    (lambda: tf.repeat(tf.ones((2, 3)), [1, 2], axis=1),
     "repeat: repeats is [1, 2] for axis 1 of shape (2, 3); pass one non-negative int, or a "
     "list of 3"),
    (lambda: tf.linalg.band_part(tf.ones(3), 0, 0),
     "band_part: the input has shape (3,); it needs at least two axes: (..., rows, columns)"),
    (lambda: tf.norm(tf.ones((2, 2)), ord=1, axis=[0, 1]),
     "norm: ord is 1 for axis [0, 1]; use \"euclidean\", or 1, 2, inf or a power for one axis"),
    (lambda: tf.clip_by_global_norm([None], 1.0),
     "global_norm: there are no tensors; pass at least one"),
    (lambda: tf.range(1, 5, 0),
     "range: delta is 0; use a delta other than 0"),
    (lambda: tf.pow(tf.constant([2]), -1),
     "pow: the exponent -1 of an integer is negative; use tf.cast(x, tf.float32)"),
    (lambda: tf.pow(tf.constant([2, 3]), tf.constant([1, -2])),
     "pow: the exponent -2 of an integer is negative; use tf.cast(x, tf.float32)"),
    (lambda: tf.constant([2]) ** 0.5,
     "pow: cannot convert 0.5 to the tensor's dtype int32; convert the tensor with tf.cast(x, "
     "tf.float32)"),
    (lambda: tf.constant([2]) ** 2.0,
     "pow: cannot convert 2.0 to the tensor's dtype int32; convert the tensor with tf.cast(x, "
     "tf.float32)"),
    (lambda: tf.logical_and(tf.ones(2), True),
     "logical_and: float32 is not supported, only bool; compare first, or use tf.bitwise"),
    (lambda: tf.random.uniform((2,), 5, 5, tf.int32),
     "random.uniform: the range 5 to 5 of int32 is empty; use maxval > minval"),
    (lambda: tf.random.uniform((-1,)),
     "random: -1 in shape (-1,) is not a size; use ints of 0 or more"),
    (lambda: tf.zeros((-1, 2)),
     "fill: -1 in shape (-1, 2) is not a size; use ints of 0 or more"),
    (lambda: tf.zeros("ab"),
     "fill: 'a' in shape ('a', 'b') is not a size; use ints of 0 or more"),
    (lambda: tf.zeros((2.5,)),
     "fill: 2.5 in shape (2.5,) is not a size; use ints of 0 or more"),
    (lambda: tf.fill((2,), "a"),
     "constant: cannot convert str to a tensor; pass numbers, nested lists of numbers, or an "
     "array"),
    (lambda: tf.divide(tf.constant([1]), tf.constant([2])),
     "divide: int32 is not supported; use tf.cast to one of float16, float32, float64"),
    (lambda: tf.add("a", tf.ones(1)),
     "constant: cannot convert str to a tensor; pass numbers, nested lists of numbers, or an "
     "array"),
    (lambda: tf.ones(2) + None,
     "constant: cannot convert NoneType to a tensor; pass numbers, nested lists of numbers, "
     "or an array"),
    (lambda: tf.ones(2)+"a",
     "constant: cannot convert str to a tensor; pass numbers, nested lists of numbers, or an "
     "array"),
    (lambda: tf.ones(2)+[1.0, 2.0, 3.0],
     "add: shapes (2,) and (3,) do not broadcast at axis -1; sizes 2 and 3 must be equal, or "
     "one of them must be 1"),
    (lambda: tf.ones((2,)) @ tf.ones((2,)),
     "matmul: shapes (2,) and (2,) are not both matrices; each needs rank 2 or more; "
     "reshape vectors to (n, 1) or (1, n)"),
    (lambda: tf.linalg.matmul(1.0, 2.0),
     "matmul: shapes () and () are not both matrices; each needs rank 2 or more; reshape "
     "vectors to (n, 1) or (1, n)"),
    (lambda: tf.clip_by_value(tf.constant([1, 2]), 0.5, 1),
     "maximum: cannot convert 0.5 to the tensor's dtype int32; convert the tensor with "
     "tf.cast(x, tf.float32)"),
    (lambda: tf.reverse(tf.ones(2), 1),
     "reverse: axis 1 is out of range for a tensor of rank 1; use -1 to 0"),
    (lambda: tf.negative(tf.constant([1], tf.uint8)),
     "negative: uint8 is not supported; use tf.cast to one of int32, float16, float32, "
     "float64"),
    (lambda: tf.maximum(tf.constant([1]), 0.5),
     "maximum: cannot convert 0.5 to the tensor's dtype int32; convert the tensor with "
     "tf.cast(x, tf.float32)"),
    (lambda: tf.ones(3)[::0],
     "getitem: the step of a slice is 0; use a step other than 0"),
    (lambda: tf.ones(3)[[True, False]],
     "boolean_mask: a mask of shape (2,) does not match axis 0 of shape (3,); its sizes must be "
     "those of the axes from there on"),
    (lambda: tf.boolean_mask([1, 2], [1, 0]),
     "boolean_mask: the mask is int32, not bool; use a comparison: x != 0"),
    (lambda: tf.gather(tf.ones(3), tf.ones(3) > 0),
     "gather: indices are bool, not int32; use tf.boolean_mask"),
    (lambda: tf.ones((3, 3))[[0, 1], [0, 1]],
     "getitem: an array of shape (2,) is one of several indices; use tf.gather(x, indices, axis=0) "
     "or tf.boolean_mask(x, mask, axis=0)"),
    (lambda: tf.ones((3, 3))[True],
     "getitem: True is not an index; use ints, slices, None or ..."),
    (lambda: tf.convert_to_tensor(tf.ones(2), tf.int32),
     "convert_to_tensor: the tensor is float32, not int32; convert it with tf.cast(x, "
     "tf.int32)"),
    (lambda: tf.ones((3,)) + np.ones(3),
     "add: dtypes differ: float32 and float64; convert one with tf.cast(x, tf.float32)"),
    (lambda: tf.ones(3) * np.int64(2),
     "multiply: dtypes differ: float32 and int32; convert one with tf.cast(x, tf.float32)"),
    (lambda: tf.constant(np.ones(2, ">f4")),
     "constant: elements of buffer format '>f' are not supported; convert the array to "
     "float32, int32, uint8 or bool first"),
    (lambda: tf.constant(tf.ones(2), tf.int32),
     "convert_to_tensor: the tensor is float32, not int32; convert it with tf.cast(x, "
     "tf.int32)"),
]


def problem_of(case) -> str:
    return case[1].split(";")[0]


@pytest.mark.parametrize("call, message", ERRORS, ids=map(problem_of, ERRORS))
def test_message(call, message):
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        call()
    assert str(raised.value) == message


@pytest.mark.parametrize("call, message", ERRORS, ids=map(problem_of, ERRORS))
def test_message_while_tracing(call, message):
    """The same error where the operation is in a tf.function."""
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        tf.function(lambda: call())()
    assert message.split(":")[0] in str(raised.value)
    assert float(tf.ones(()) + 1.0) == 2, "the trace has ended"


def test_a_message_is_one_sentence_without_blame():
    for _, message in ERRORS:
        op, problem_and_hint = message.split(": ", 1)
        assert op and "; " in problem_and_hint and "\n" not in message
        assert message.endswith("...") or not message.endswith(".")


def test_errors_are_subclasses_of_python_errors():
    with pytest.raises(ValueError):
        tf.ones((2, 3)) + tf.ones((4, 3))
    with pytest.raises(TypeError):
        tf.ones(2) + tf.constant([1, 2])
    with pytest.raises(IndexError):
        _ = tf.ones(2)[2]
    assert [float(x) for x in tf.constant([1.0, 2.0])] == [1, 2]


@pytest.mark.parametrize("convert", (bool, float, int))
def test_a_tensor_of_several_elements_is_no_scalar(convert):
    with pytest.raises(tf.errors.InvalidArgumentError,
                       match=r"item: a tensor of shape \(2,\) does not have exactly one element"):
        convert(tf.ones(2))


def test_a_scalar_has_no_length():
    with pytest.raises(TypeError, match="len: a scalar tensor has no length; use x.shape"):
        len(tf.ones(()))


def test_unknown_backends_and_names():
    with pytest.raises(tf.errors.InvalidArgumentError, match="backend: 'cuda' is not known; use"):
        tf.config.set_backend("cuda")
    with pytest.raises(AttributeError, match="tensorbrook has no 'conv7d'"):
        _ = tf.conv7d


def test_arrays_of_unsupported_dtypes():
    for bad in (np.array(["a"]), np.ones(2, "complex64"), np.ones(2, ">f4")):
        with pytest.raises(tf.errors.DTypeError, match="constant: elements of buffer format"):
            tf.constant(bad)
    with pytest.raises(tf.errors.InvalidArgumentError, match="out of range for int32"):
        tf.constant(np.array([2**40]))


def test_an_allocation_that_does_not_fit_has_a_hint(backend):
    if backend == "wasm":
        with pytest.raises(tf.errors.ResourceExhaustedError,
                           match="a buffer of 38147 MB does not fit .* use a smaller batch"):
            tf.ones((100_000, 100_000)) + 1.0
    assert float(tf.ones(()) + 1.0) == 2


def test_a_dtype_that_a_backend_does_not_support_has_a_hint(backend):
    wide = tf.constant([1.0, 2.0], tf.float64)
    if backend != "reference":
        for use in (lambda: wide + wide, lambda: tf.function(lambda x: (x, wide))(tf.ones(2))):
            with pytest.raises(tf.errors.UnimplementedError, match="use tf.cast to float32, or"):
                use()
    else:
        assert (wide + wide).tolist() == [2.0, 4.0]
