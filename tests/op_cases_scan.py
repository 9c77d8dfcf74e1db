"""Lines of the table about compiled loops."""
import tensorbrook as tf
from op_case import Case, Whole
from tensorbrook.ops.control_flow import scan_loop


def folded(np, f, first, xs, reverse=False):
    """[the last result, the stacked ys] of `f(carry, x)`, which gives both, turn by turn."""
    ys = []
    for i in reversed(range(len(xs))) if reverse else range(len(xs)):
        first, y = f(first, xs[i])
        ys.append(y)
    return [first, np.stack(ys[::-1] if reverse else ys)]


def cell(np, x, h, w, u, b):
    return np.tanh(np.matmul(x, w) + np.matmul(h, u) + b)


def ours_of_rnn(x, h, w, u, b, reverse=False):
    def step(h, x):
        h = tf.tanh(tf.matmul(x, w) + tf.matmul(h, u) + b)
        return h, h
    return scan_loop(step, h, x, reverse=reverse)


def theirs_of_rnn(np, x, h, w, u, b, reverse=False):
    return folded(np, lambda h, x: (cell(np, x, h, w, u, b),) * 2, h, x, reverse)


def rnn(turns, batch, features, units):
    return (turns, batch, features), (batch, units), (features, units), (units, units), (units,)


def ours_of_pair(x, a, b):
    """Two carries, one of which counts, and two ys."""
    def step(state, x):
        a, b, n = state
        c = tf.sin(a * x) + b
        return (b * 0.5, c * tf.cast(n, x.dtype), n + 1), (a - x, c)
    (a, b, _), ys = scan_loop(step, (a, b, tf.constant(1)), x)
    return a, b, *ys


def theirs_of_pair(np, x, a, b):
    ys, zs = [], []
    for n in range(len(x)):
        c = np.sin(a * x[n]) + b
        ys.append(a - x[n])
        zs.append(c)
        a, b = b * 0.5, c * (n + 1)
    return [a, b, np.stack(ys), np.stack(zs)]


def ours_of_nested(x, w):
    def outer(total, rows):
        total, ys = scan_loop(lambda t, row: (tf.tanh(t * w + row), t * row), total, rows, reverse=True)
        return total, ys
    return scan_loop(outer, x[0, 0] * 0.5, x)


def theirs_of_nested(np, x, w):
    return folded(np, lambda total, rows: tuple(folded(
        np, lambda t, row: (np.tanh(t * w + row), t * row), total, rows, True)), x[0, 0] * 0.5, x)


def ours_of_weights(x, w):
    """A weight whose gradient is carried along, and what is computed of it alone."""
    def step(h, x):
        h = tf.tanh(h * w * w + x) + tf.reduce_sum(tf.sin(w) * tf.nn.softmax(x))
        return h, ()
    return scan_loop(step, tf.zeros_like(x[0]), x)[0]


def theirs_of_weights(np, x, w):
    h = x[0] * 0
    for row in x:
        soft = np.exp(row) / np.sum(np.exp(row), -1, keepdims=True)
        h = np.tanh(h * w * w + row) + np.sum(np.sin(w) * soft)
    return h


def ours_of_walk(x, i):
    """A loop along whole numbers, with a table that is looked into."""
    return scan_loop(lambda h, i: (tf.tanh(h + tf.gather(x, i)), h[:1]), x[0], i)


LOOPS = {
    "scan": Case(lambda x: tf.scan(lambda a, x: a + x * 2, x), lambda np, x: np.concatenate(
        [x[:1], x[:1] + np.cumsum(x[1:] * 2, 0, dtype=x.dtype)]), (((5, 3),), ((1, 2),), ((2,),), ((7, 2, 1),), ((3, 0),)), kinds="fi"),
    "scan/from the last": Case(lambda x: tf.scan(lambda a, x: a - x * 0.5, x, reverse=True), lambda np, x: np.concatenate(
        [x[-1:], x[-1:] - np.cumsum(x[:-1][::-1] * 0.5, 0)])[::-1], (((5, 3),), ((1,),), ((4, 1, 2),))),
    "scan/initializer": Case(lambda x, a: tf.scan(lambda a, x: a * x, x, a), lambda np, x, a: np.cumprod(x, 0) * a,
                             (((4, 2, 3), (2, 3)), ((1,), ()), ((6,), ()))),
    "scan/recurrent": Case(ours_of_rnn, theirs_of_rnn, (
        rnn(3, 2, 4, 5), rnn(1, 1, 1, 1), rnn(4, 7, 3, 2), rnn(2, 33, 20, 40))),
    "scan/recurrent, back": Case(lambda *xs: ours_of_rnn(*xs, reverse=True), lambda np, *xs: theirs_of_rnn(
        np, *xs, reverse=True), (rnn(3, 2, 4, 5), rnn(2, 1, 3, 3))),
    "scan/pair": Case(ours_of_pair, theirs_of_pair, (((4, 3), (3,), (3,)), ((1, 2), (2,), (2,)), ((5,), (), ()))),
    "scan/nested": Case(ours_of_nested, theirs_of_nested, (((3, 2, 4), (4,)), ((1, 1, 3), (3,)), ((2, 5, 1), (1,)))),
    "scan/weights": Case(ours_of_weights, theirs_of_weights, (((4, 2, 3), (3,)), ((1, 5), (5,)))),
    "scan/walk": Case(ours_of_walk, lambda np, x, i: folded(np, lambda h, i: (np.tanh(h + x[i]), h[:1]), x[0], i), (
        ((5, 3), Whole((4,), 0, 5)), ((2, 4), Whole((1,), 0, 2)))),
}
