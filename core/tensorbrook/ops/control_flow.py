"""Loops that are compiled: a body, traced once, repeated along the first axis of tensors."""
from collections.abc import Callable
from typing import Any

from ..autodiff.scan_gradient import scan_vjp
from ..base import tree
from ..base.errors import InvalidArgumentError
from ..ir import Subgraph, TensorSpec, Var, interpret
from ..tensor import Tensor, Variable, as_tensor, bind, context, tapes_paused
from ..trace import SubgraphTrace
from .registration import primitive

# ── the primitive ─────────────────────────────────────────────────────────────────────────────
# Arguments: what is carried from one turn to the next, what is taken one piece along its first
# axis each turn, and constants; `carries` and `xs` tell how many there are of the first two.
# The body's inputs are the carries, a piece of each of the xs, and the constants; its outputs are
# the new carries, and a piece of each of the ys. Results: the last carries, and the whole ys.
# With `reverse` the last pieces come first; the pieces of the ys stand where those of the xs do.


def _scan_spec(*specs: TensorSpec, body: Subgraph, carries, xs, length, reverse) -> tuple[TensorSpec, ...]:
    graph = body.graph
    pieces = (*specs[:carries], *(TensorSpec(s.shape[1:], s.dtype) for s in specs[carries:carries + xs]),
              *specs[carries + xs:])
    assert pieces == tuple(v.spec for v in graph.inputs), f"scan: {pieces} do not fit its body"
    outs = [o.spec for o in graph.outputs]
    assert tuple(outs[:carries]) == specs[:carries], "scan: its body changes what a carry is"
    return (*outs[:carries], *(TensorSpec((length, *s.shape), s.dtype) for s in outs[carries:]))


def _scan(np, *args, body: Subgraph, carries, xs, length, reverse):
    state, slices, constants = list(args[:carries]), args[carries:carries + xs], args[carries + xs:]
    specs = [o.spec for o in body.graph.outputs[carries:]]
    ys = [np.zeros((length, *spec.shape), spec.dtype.name) for spec in specs]
    for i in reversed(range(length)) if reverse else range(length):
        outs = interpret(np, body.graph, [*state, *(np.asarray(x[i]) for x in slices), *constants])
        state = outs[:carries]
        for y, out in zip(ys, outs[carries:]):
            y[i] = out
    return (*state, *ys)


primitive("scan", "scan", _scan_spec, scan_vjp, _scan)

# ── tracing a body ────────────────────────────────────────────────────────────────────────────


def scan_loop(f: Callable, carries, xs=(), length: int | None = None, reverse: bool = False):
    """Repeat `carries, y = f(carries, x)` in one compiled loop, x being the pieces of `xs` along
    its first axis, in order or, with `reverse`, from the last to the first.

    `carries`, `xs` and what f gives as y are tensors or nested structures of them. f is traced
    once. Returns (the last carries, the ys stacked along a first axis of `length`). `length` is
    needed where there are no xs. A carry keeps its shape and dtype, or InvalidArgumentError names
    it. Variables that f assigns to are carried on and hold their last value afterwards.

    >>> total, sums = iterate(lambda s, x: (s + x, s + x), 0.0, tf.constant([1., 2., 3.]))
    >>> sums.tolist()
    [1.0, 3.0, 6.0]
    """
    states, structure = _tensors(carries)
    slices, x_structure = _tensors(xs)
    length = _length(slices, length)
    trace = SubgraphTrace()
    carry_tracers = [trace.placeholder(t.spec) for t in states]
    pieces = [trace.placeholder(TensorSpec(t.spec.shape[1:], t.dtype)) for t in slices]
    with tapes_paused(), context(trace):
        new, ys = f(tree.unflatten(structure, carry_tracers), tree.unflatten(x_structure, pieces))
        new, new_structure = tree.flatten(new)
        new = [as_tensor(n, None if isinstance(n, (Tensor, Variable)) else t.dtype)
               for n, t in zip(new, states)]
        outs, y_structure = tree.flatten(ys)
        outs = [as_tensor(o) for o in outs]
    _check_carries(states, structure, new, new_structure)
    results = _bind_scan(trace, states, slices, new, outs, length, reverse)
    count = len(states)
    return tree.unflatten(structure, results[:count]), tree.unflatten(y_structure, results[count:])


def _tensors(values) -> tuple[list[Tensor], Any]:
    leaves, structure = tree.flatten(values)
    return [as_tensor(leaf) for leaf in leaves], structure


def _length(slices: list[Tensor], length: int | None) -> int:
    """How many turns: the one size of all first axes."""
    found = {length} if length is not None else set()
    for x in slices:
        if not x.shape:
            raise InvalidArgumentError("scan", "one of the tensors to go along is a scalar",
                                       "each needs an axis to take pieces along")
        found.add(x.shape[0])
    if len(found) != 1:
        raise InvalidArgumentError(
            "scan", f"the first axes have sizes {sorted(found)}" if found else
            "there is nothing to go along",
            "all tensors need the same number of pieces" if found else "give it a length")
    return found.pop()


def _check_carries(states, structure, new, new_structure) -> None:
    if new_structure != structure or len(new) != len(states):
        raise InvalidArgumentError("scan", "what the body carries on has another structure than "
                                   "what came in", "return carries of the structure you were given")
    for i, (old, out) in enumerate(zip(states, new)):
        if old.spec != out.spec:
            raise InvalidArgumentError("scan", f"carry {i} comes in as {old.spec} and leaves as "
                                       f"{out.spec}", "keep its shape and dtype the same")


def _bind_scan(trace: SubgraphTrace, states, slices, new, outs, length: int, reverse: bool) -> list[Tensor]:
    """Bind the loop whose body was traced; Variables that the body assigns to are carried too."""
    graph = trace.graph
    graph.outputs = [trace.atom(o) for o in (*new, *trace.assigned_variables.values(), *outs)]
    num_explicit = len(states) + len(slices)
    met: list[tuple[Var, Tensor | Variable]] = list(zip(graph.inputs[num_explicit:], trace.captured))
    assigned_captures = [next(pair for pair in met if pair[1] is v) for v in trace.assigned_variables]
    constant_captures = [pair for pair in met if not any(pair[1] is v for v in trace.assigned_variables)]
    graph.inputs = [*graph.inputs[:len(states)], *(var for var, _ in assigned_captures),
                    *graph.inputs[len(states):num_explicit], *(var for var, _ in constant_captures)]
    args = [*states, *map(_captured_tensor, assigned_captures), *slices, *map(_captured_tensor, constant_captures)]
    carried = len(states) + len(assigned_captures)
    results = bind("scan", *args, body=Subgraph(graph), carries=carried, xs=len(slices), length=length,
                   reverse=bool(reverse))
    for variable, value in zip(trace.assigned_variables, results[len(states):]):
        variable.assign(value)
    return [*results[:len(states)], *results[carried:]]


def _captured_tensor(pair: tuple[Var, Tensor | Variable]) -> Tensor:
    """What a body met from outside; a Variable as what it is, however the body reads it."""
    held = pair[1]
    return Variable.value(held) if isinstance(held, Variable) else held


# ── by TensorFlow's name ──────────────────────────────────────────────────────────────────────


def scan(fn: Callable, elems, initializer=None, parallel_iterations=10, back_prop=True,
         swap_memory=False, infer_shape=True, reverse=False, name=None):
    """Fold `elems` along the first axis and keep each result: out[i] = fn(out[i - 1], elems[i]).

    The first result is `initializer`'s, or, without one, the first of elems as it is. With
    `reverse` it goes from the last to the first. `parallel_iterations`, `back_prop`, `swap_memory`,
    `infer_shape` and `name` are TensorFlow's, and change nothing here.

    >>> tf.scan(lambda total, x: total + x, tf.constant([1, 2, 3])).tolist()
    [1, 3, 6]
    """
    elems = tree.tree_map(as_tensor, elems)
    first = None
    if initializer is None:
        at = -1 if reverse else 0
        if any(x.shape[:1] == (0,) for x in tree.flatten(elems)[0]):
            raise InvalidArgumentError("scan", "elems are empty", "give it an initializer")
        first = initializer = tree.tree_map(lambda x: x[at], elems)
        elems = tree.tree_map(lambda x: x[:-1] if reverse else x[1:], elems)

    def step(total, x):
        out = fn(total, x)
        return out, out

    outs = scan_loop(step, initializer, elems, reverse=reverse)[1]
    if first is None:
        return outs
    return tree.tree_map(lambda x, rest: _prepend_or_append(x, rest, reverse), first, outs)


def _prepend_or_append(x: Tensor, rest: Tensor, after: bool) -> Tensor:
    """`x` as one more piece before the rest, or after it."""
    piece = bind("reshape", x, shape=(1, *x.shape))
    return bind("concat", *((rest, piece) if after else (piece, rest)), axis=0)
