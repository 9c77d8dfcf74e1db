"""Programs that between them render every template of the GPU in each of its variants."""
import tensorbrook as tf
from op_case import Whole
from golden_programs import gradients, zeros
from tensorbrook.ops import attention as att
from tensorbrook.ops import sort_primitives


def arguments(*shapes, dtype="float32"):
    """Zeros of these shapes; those of `Whole` are indices."""
    return tuple(zeros(*s.shape, dtype="int32") if isinstance(s, Whole) else zeros(*s, dtype=dtype)
                 for s in shapes)


def halves(program):
    """A program with float16 in place of float32."""
    f, arguments = program
    return f, tuple(tf.cast(x, tf.float16) if x.dtype.is_floating else x for x in arguments)


def cast(program):
    """A program that casts what it is given to float16."""
    f, arguments = program
    return lambda *xs: f(*(tf.cast(x, tf.float16) for x in xs)), arguments


def mixed_step():
    """A step of training in mixed precision."""
    mixed, k = {"dtype": "mixed_float16"}, tf.keras
    model = k.Sequential([
        k.Input((8, 8, 1)), k.layers.Conv2D(8, 3, activation="relu", **mixed),
        k.layers.MaxPooling2D(**mixed), k.layers.BatchNormalization(**mixed),
        k.layers.Flatten(**mixed), k.layers.Dense(5, **mixed), k.layers.Softmax()])
    optimizer = k.optimizers.LossScaleOptimizer(k.optimizers.Adam())

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = k.losses.SparseCategoricalCrossentropy()(y, model(x, training=True))
            scaled = optimizer.scale_loss(loss)
        weights = model.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(scaled, weights), weights))
        return loss

    return step, arguments((6, 8, 8, 1), Whole((6,), 0, 5))


def product(m, n, k, a, b, batch=()):
    return lambda x, y: tf.matmul(x, y, a, b), arguments(
        (*batch, k, m) if a else (*batch, m, k), (*batch, n, k) if b else (*batch, k, n))


def windows(image, filters, **settings):
    """A convolution and both of its gradients."""
    return gradients(lambda x, w: tf.nn.conv2d(x, w, **settings), image, filters)


def slopes_of_windows(image, filters, slopes, **settings):
    """Both gradients of a convolution, for gradients that come in."""
    def f(x, w, g):
        with tf.GradientTape() as tape:
            tape.watch((x, w))
            y = tf.nn.conv2d(x, w, **settings)
        return tape.gradient(y, (x, w), g)

    return f, arguments(image, filters, slopes)


def attended(causal: bool, mask=None, width: int = 24):
    """Attention and its gradients over two heads."""
    def f(q, k, v):
        shown = () if mask is None else (tf.zeros(mask, tf.int32) == 0,)
        return att.attention(q, k, v, *shown, causal=causal, scale=0.3)[0]

    return gradients(f, (2, 40, 2, width), (2, 50, 2, width), (2, 50, 2, width))


def rows(count: int, n: int):
    return arguments(Whole((count,), 0, n))


SIDES = [(a, b) for a in (False, True) for b in (False, True)]
PROGRAMS = {
    **{f"product {size} {a:d}{b:d}": product(*size, a, b) for a, b in SIDES
       for size in ((512, 256, 320), (301, 211, 323), (3, 5, 7), (1, 2048, 512), (1, 1023, 517),
                    (2048, 1, 512), (1021, 3, 517), (64, 64, 8192), (3, 8, 60000))},
    "product in larger tiles": product(1024, 1024, 64, False, False),
    "product in the largest tiles": product(1500, 1500, 300, False, False),
    "products of a batch": product(70, 60, 300, False, True, (6,)),
    "no product": product(3, 4, 0, False, False),
    "convolution": windows((4, 28, 28, 1), (5, 5, 1, 6)),
    "convolution by four": windows((8, 16, 16, 32), (3, 3, 32, 64), padding="SAME"),
    "convolution of many pixels": windows((16, 64, 64, 4), (3, 3, 4, 64), padding="SAME"),
    "convolution of many channels": windows((1, 4, 4, 512), (3, 3, 512, 512)),
    "convolution, stride": windows((2, 57, 57, 3), (7, 7, 3, 64), strides=2),
    "depthwise": windows((2, 9, 9, 8), (3, 3, 1, 8)),
    "depthwise, odd": windows((2, 9, 9, 5), (3, 3, 1, 5), padding="SAME"),
    "groups": windows((2, 9, 9, 8), (3, 3, 4, 6)),
    "slopes of a convolution": slopes_of_windows((2, 7, 7, 3), (3, 3, 3, 5), (2, 5, 5, 5)),
    "slopes by four": slopes_of_windows((2, 7, 7, 4), (3, 3, 4, 16), (2, 5, 5, 16)),
    "depthwise slopes": slopes_of_windows((2, 7, 7, 3), (3, 3, 1, 3), (2, 5, 5, 3)),
    "no images": windows((0, 5, 5, 2), (3, 3, 2, 4)),
    "largest": gradients(lambda x: tf.nn.max_pool2d(x, 2), (2, 6, 6, 3)),
    "largest, twice": gradients(lambda x: gradients(lambda x: tf.nn.max_pool2d(x, 3, 2))[0](x)[0],
                                (2, 7, 7, 3)),
    "mean": gradients(lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME"), (2, 7, 7, 3)),
    "attention": attended(False), "attention, causal": attended(True),
    "attention, wide": attended(False, width=140),
    "attention, masked": attended(False, (2, 1, 40, 50)),
    "attention, both": attended(True, (1, 2, 40, 50)),
    "gather": (tf.gather, arguments((9, 3), Whole((4,), 0, 9))),
    "gather by four": (tf.gather, arguments((9, 8), Whole((4,), 0, 9))),
    "gather of nothing": (tf.gather, arguments((0, 8), Whole((4,), 0, 9))),
    "words": gradients(lambda x: tf.gather(x, tf.zeros((8192,), tf.int32)), (5000, 12)),
    "odd words": gradients(lambda x: tf.gather(x, tf.zeros((100,), tf.int32)), (50000, 3)),
    "few segments": (lambda x, i: tf.math.unsorted_segment_sum(x, i, 4), arguments(
        (5000, 3), Whole((5000,), 0, 4))),
    "whole segments": (lambda x, i: tf.math.unsorted_segment_sum(x, i, 4), arguments(
        Whole((50, 4), 0, 4), Whole((50,), 0, 4))),
    "sort": (lambda x: tf.sort(x), arguments((3, 50))),
    "sort, whole": (lambda x: tf.sort(x, direction="DESCENDING"), rows(5000, 9)),
    "sort, long": (lambda x: tf.sort(x), arguments((1, 70000))),
    "radix_histogram of nothing": (lambda x: sort_primitives.radix_histogram(x, digit=0, parts=2), arguments(
        Whole((3, 0, 2), 0, 1))),
    "top_k": (lambda x: tf.math.top_k(x, 5), arguments((3, 50))),
    "top_k of many": (lambda x: tf.math.top_k(x, 100), arguments((2, 300000))),
    "top_k, many": (lambda x: tf.math.top_k(x, 2000), arguments((2, 20000))),
    "sums": (lambda x: tf.cumsum(x, 1), arguments((3, 20, 5))),
    "sums, long": (lambda x: tf.cumsum(x, exclusive=True, reverse=True), arguments((70000,))),
    "sums, whole": (lambda x: tf.cumsum(x), rows(500, 9)),
    "bits": (lambda: tf.random.uniform((7,)), ()),
}
# Those that devices with float16 are asked for as well, in it.
HALVES = ("product (512, 256, 320) 00", "product (1, 2048, 512) 01", "product (3, 5, 7) 00",
          "convolution by four", "depthwise", "largest", "mean", "attention, masked", "gather",
          "gather of nothing", "sort", "sums")
# Those that cast what they load there.
CAST = ("product (512, 256, 320) 00", "product (301, 211, 323) 10", "product (1, 2048, 512) 01",
        "product (1, 1023, 517) 01", "product (2048, 1, 512) 10", "product (1021, 3, 517) 10",
        "product (3, 5, 7) 00", "convolution", "convolution by four", "depthwise",
        "depthwise, odd", "groups", "slopes of a convolution", "slopes by four", "depthwise slopes")
