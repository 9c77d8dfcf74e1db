"""Op cases of scans."""
import tensorbrook as tf
from op_case import Case, Indices
from tensorbrook.ops.control_flow import scan_loop


def scan_reference(np, f, carry, xs, reverse=False):
    """Call `carry, y = f(carry, x)` for every slice; return [the final carry, the stacked ys]."""
    ys = []
    for i in reversed(range(len(xs))) if reverse else range(len(xs)):
        carry, y = f(carry, xs[i])
        ys.append(y)
    return [carry, np.stack(ys[::-1] if reverse else ys)]


def rnn_cell(np, x, h, w, u, b):
    return np.tanh(np.matmul(x, w) + np.matmul(h, u) + b)


def rnn(x, h, w, u, b, reverse=False):
    def step(h, x):
        h = tf.tanh(tf.matmul(x, w) + tf.matmul(h, u) + b)
        return h, h
    return scan_loop(step, h, x, reverse=reverse)


def rnn_reference(np, x, h, w, u, b, reverse=False):
    return scan_reference(np, lambda h, x: (rnn_cell(np, x, h, w, u, b),) * 2, h, x, reverse)


def rnn_shapes(steps, batch, features, units):
    return (steps, batch, features), (batch, units), (features, units), (units, units), (units,)


def two_results(x, a, b):
    """Three carries, one of them an iteration counter, and two ys."""
    def step(state, x):
        a, b, n = state
        c = tf.sin(a * x) + b
        return (b * 0.5, c * tf.cast(n, x.dtype), n + 1), (a - x, c)
    (a, b, _), ys = scan_loop(step, (a, b, tf.constant(1)), x)
    return a, b, *ys


def two_results_reference(np, x, a, b):
    ys, zs = [], []
    for n in range(len(x)):
        c = np.sin(a * x[n]) + b
        ys.append(a - x[n])
        zs.append(c)
        a, b = b * 0.5, c * (n + 1)
    return [a, b, np.stack(ys), np.stack(zs)]


def nested(x, w):
    def outer(total, rows):
        return scan_loop(lambda t, row: (tf.tanh(t * w + row), t * row), total, rows, reverse=True)
    return scan_loop(outer, x[0, 0] * 0.5, x)


def nested_reference(np, x, w):
    return scan_reference(np, lambda total, rows: tuple(scan_reference(
        np, lambda t, row: (np.tanh(t * w + row), t * row), total, rows, True)), x[0, 0] * 0.5, x)


def captured_weight(x, w):
    """A captured weight, with and without operations that do not depend on the iteration."""
    def step(h, x):
        h = tf.tanh(h * w * w + x) + tf.reduce_sum(tf.sin(w) * tf.nn.softmax(x))
        return h, ()
    return scan_loop(step, tf.zeros_like(x[0]), x)[0]


def captured_weight_reference(np, x, w):
    h = x[0] * 0
    for row in x:
        soft = np.exp(row) / np.sum(np.exp(row), -1, keepdims=True)
        h = np.tanh(h * w * w + row) + np.sum(np.sin(w) * soft)
    return h


def gather_in_body(x, i):
    """A scan over indices that gathers from a captured table."""
    return scan_loop(lambda h, i: (tf.tanh(h + tf.gather(x, i)), h[:1]), x[0], i)


LOOPS = {
    "scan": Case(lambda x: tf.scan(lambda a, x: a + x * 2, x), lambda np, x: np.concatenate(
        [x[:1], x[:1] + np.cumsum(x[1:] * 2, 0, dtype=x.dtype)]), (((5, 3),), ((1, 2),), ((2,),), ((7, 2, 1),), ((3, 0),)), kinds="fi"),
    "scan/reverse": Case(lambda x: tf.scan(lambda a, x: a - x * 0.5, x, reverse=True), lambda np, x: np.concatenate(
        [x[-1:], x[-1:] - np.cumsum(x[:-1][::-1] * 0.5, 0)])[::-1], (((5, 3),), ((1,),), ((4, 1, 2),))),
    "scan/initializer": Case(lambda x, a: tf.scan(lambda a, x: a * x, x, a), lambda np, x, a: np.cumprod(x, 0) * a,
                             (((4, 2, 3), (2, 3)), ((1,), ()), ((6,), ()))),
    "scan/recurrent": Case(rnn, rnn_reference, (
        rnn_shapes(3, 2, 4, 5), rnn_shapes(1, 1, 1, 1), rnn_shapes(4, 7, 3, 2), rnn_shapes(2, 33, 20, 40))),
    "scan/recurrent, reverse": Case(lambda *xs: rnn(*xs, reverse=True), lambda np, *xs: rnn_reference(
        np, *xs, reverse=True), (rnn_shapes(3, 2, 4, 5), rnn_shapes(2, 1, 3, 3))),
    "scan/two results": Case(two_results, two_results_reference, (((4, 3), (3,), (3,)), ((1, 2), (2,), (2,)), ((5,), (), ()))),
    "scan/nested": Case(nested, nested_reference, (((3, 2, 4), (4,)), ((1, 1, 3), (3,)), ((2, 5, 1), (1,)))),
    "scan/captured weight": Case(captured_weight, captured_weight_reference, (((4, 2, 3), (3,)), ((1, 5), (5,)))),
    "scan/gather": Case(gather_in_body, lambda np, x, i: scan_reference(np, lambda h, i: (np.tanh(h + x[i]), h[:1]), x[0], i), (
        ((5, 3), Indices((4,), 0, 5)), ((2, 4), Indices((1,), 0, 2)))),
}
