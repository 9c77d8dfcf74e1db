"""Programs that together instantiate every shader template in each of its variants."""
import tensorbrook as tf
from op_case import Indices
from golden_programs import gradients, zeros
from tensorbrook.ops import attention as att
from tensorbrook.ops import sort_primitives


def arguments(*shapes, dtype="float32"):
    """Zeros of the given shapes; int32 zeros for `Indices`."""
    return tuple(zeros(*s.shape, dtype="int32") if isinstance(s, Indices)
                 else zeros(*s, dtype=dtype) for s in shapes)


def in_float16(program):
    """The program with float16 arguments instead of float32."""
    f, arguments = program
    return f, tuple(tf.cast(x, tf.float16) if x.dtype.is_floating else x for x in arguments)


def with_float16_casts(program):
    """The program with its arguments cast to float16 inside of it."""
    f, arguments = program
    return lambda *xs: f(*(tf.cast(x, tf.float16) for x in xs)), arguments


def mixed_step():
    """A training step in mixed precision."""
    policy, k = {"dtype": "mixed_float16"}, tf.keras
    model = k.Sequential([
        k.Input((8, 8, 1)), k.layers.Conv2D(8, 3, activation="relu", **policy),
        k.layers.MaxPooling2D(**policy), k.layers.BatchNormalization(**policy),
        k.layers.Flatten(**policy), k.layers.Dense(5, **policy), k.layers.Softmax()])
    optimizer = k.optimizers.LossScaleOptimizer(k.optimizers.Adam())

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = k.losses.SparseCategoricalCrossentropy()(y, model(x, training=True))
            scaled = optimizer.scale_loss(loss)
        weights = model.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(scaled, weights), weights))
        return loss

    return step, arguments((6, 8, 8, 1), Indices((6,), 0, 5))


def matmul(m, n, k, a, b, batch=()):
    return lambda x, y: tf.matmul(x, y, a, b), arguments(
        (*batch, k, m) if a else (*batch, m, k), (*batch, n, k) if b else (*batch, k, n))


def convolution(image, filters, **options):
    """A convolution and both of its gradients."""
    return gradients(lambda x, w: tf.nn.conv2d(x, w, **options), image, filters)


def convolution_vjp(image, filters, cotangents, **options):
    """Both gradients of a convolution, for given output cotangents."""
    def f(x, w, g):
        with tf.GradientTape() as tape:
            tape.watch((x, w))
            y = tf.nn.conv2d(x, w, **options)
        return tape.gradient(y, (x, w), g)

    return f, arguments(image, filters, cotangents)


def attention(causal: bool, mask=None, width: int = 24):
    """Attention with two heads, and its gradients."""
    def f(q, k, v):
        masks = () if mask is None else (tf.zeros(mask, tf.int32) == 0,)
        return att.attention(q, k, v, *masks, causal=causal, scale=0.3)[0]

    return gradients(f, (2, 40, 2, width), (2, 50, 2, width), (2, 50, 2, width))


def indices(count: int, n: int):
    return arguments(Indices((count,), 0, n))


TRANSPOSES = [(a, b) for a in (False, True) for b in (False, True)]
PROGRAMS = {
    **{f"matmul {size} {a:d}{b:d}": matmul(*size, a, b) for a, b in TRANSPOSES
       for size in ((512, 256, 320), (301, 211, 323), (3, 5, 7), (1, 2048, 512), (1, 1023, 517),
                    (2048, 1, 512), (1021, 3, 517), (64, 64, 8192), (3, 8, 60000))},
    "matmul in larger tiles": matmul(1024, 1024, 64, False, False),
    "matmul in the largest tiles": matmul(1500, 1500, 300, False, False),
    "batched matmul": matmul(70, 60, 300, False, True, (6,)),
    "empty matmul": matmul(3, 4, 0, False, False),
    "convolution": convolution((4, 28, 28, 1), (5, 5, 1, 6)),
    "convolution, vec4": convolution((8, 16, 16, 32), (3, 3, 32, 64), padding="SAME"),
    "convolution, many pixels": convolution((16, 64, 64, 4), (3, 3, 4, 64), padding="SAME"),
    "convolution, many channels": convolution((1, 4, 4, 512), (3, 3, 512, 512)),
    "convolution, stride": convolution((2, 57, 57, 3), (7, 7, 3, 64), strides=2),
    "depthwise": convolution((2, 9, 9, 8), (3, 3, 1, 8)),
    "depthwise, odd": convolution((2, 9, 9, 5), (3, 3, 1, 5), padding="SAME"),
    "groups": convolution((2, 9, 9, 8), (3, 3, 4, 6)),
    "convolution gradients": convolution_vjp((2, 7, 7, 3), (3, 3, 3, 5), (2, 5, 5, 5)),
    "convolution gradients, vec4": convolution_vjp((2, 7, 7, 4), (3, 3, 4, 16), (2, 5, 5, 16)),
    "depthwise gradients": convolution_vjp((2, 7, 7, 3), (3, 3, 1, 3), (2, 5, 5, 3)),
    "no images": convolution((0, 5, 5, 2), (3, 3, 2, 4)),
    "max pooling": gradients(lambda x: tf.nn.max_pool2d(x, 2), (2, 6, 6, 3)),
    "max pooling, second derivative": gradients(
        lambda x: gradients(lambda x: tf.nn.max_pool2d(x, 3, 2))[0](x)[0], (2, 7, 7, 3)),
    "average pooling": gradients(lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME"), (2, 7, 7, 3)),
    "attention": attention(False), "attention, causal": attention(True),
    "attention, wide": attention(False, width=140),
    "attention, masked": attention(False, (2, 1, 40, 50)),
    "attention, masked and causal": attention(True, (1, 2, 40, 50)),
    "gather": (tf.gather, arguments((9, 3), Indices((4,), 0, 9))),
    "gather, vec4": (tf.gather, arguments((9, 8), Indices((4,), 0, 9))),
    "gather from nothing": (tf.gather, arguments((0, 8), Indices((4,), 0, 9))),
    "embedding gradient": gradients(
        lambda x: tf.gather(x, tf.zeros((8192,), tf.int32)), (5000, 12)),
    "embedding gradient, odd width": gradients(
        lambda x: tf.gather(x, tf.zeros((100,), tf.int32)), (50000, 3)),
    "few segments": (lambda x, i: tf.math.unsorted_segment_sum(x, i, 4), arguments(
        (5000, 3), Indices((5000,), 0, 4))),
    "int32 segments": (lambda x, i: tf.math.unsorted_segment_sum(x, i, 4), arguments(
        Indices((50, 4), 0, 4), Indices((50,), 0, 4))),
    "sort": (lambda x: tf.sort(x), arguments((3, 50))),
    "sort, int32": (lambda x: tf.sort(x, direction="DESCENDING"), indices(5000, 9)),
    "sort, long": (lambda x: tf.sort(x), arguments((1, 70000))),
    "radix_histogram of nothing": (
        lambda x: sort_primitives.radix_histogram(x, digit=0, chunks=2),
        arguments(Indices((3, 0, 2), 0, 1))),
    "top_k": (lambda x: tf.math.top_k(x, 5), arguments((3, 50))),
    "top_k of long rows": (lambda x: tf.math.top_k(x, 100), arguments((2, 300000))),
    "top_k, large k": (lambda x: tf.math.top_k(x, 2000), arguments((2, 20000))),
    "cumsum": (lambda x: tf.cumsum(x, 1), arguments((3, 20, 5))),
    "cumsum, long": (lambda x: tf.cumsum(x, exclusive=True, reverse=True), arguments((70000,))),
    "cumsum, int32": (lambda x: tf.cumsum(x), indices(500, 9)),
    "random bits": (lambda: tf.random.uniform((7,)), ()),
}
# Programs that devices with float16 also run in float16.
FLOAT16 = ("matmul (512, 256, 320) 00", "matmul (1, 2048, 512) 01", "matmul (3, 5, 7) 00",
           "convolution, vec4", "depthwise", "max pooling", "average pooling", "attention, masked",
           "gather", "gather from nothing", "sort", "cumsum")
# Programs that devices with float16 also run with casts that are fused into loads.
FLOAT16_CASTS = (
    "matmul (512, 256, 320) 00", "matmul (301, 211, 323) 10", "matmul (1, 2048, 512) 01",
    "matmul (1, 1023, 517) 01", "matmul (2048, 1, 512) 10", "matmul (1021, 3, 517) 10",
    "matmul (3, 5, 7) 00", "convolution", "convolution, vec4", "depthwise", "depthwise, odd",
    "groups", "convolution gradients", "convolution gradients, vec4", "depthwise gradients")
