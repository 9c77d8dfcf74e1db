"""Control flow: the primitive `scan`, a compiled loop over a traced body, and `tf.scan`."""
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
# Arguments: `carries` initial carries, `xs` stacked xs, and constants. The inputs of the body are
# the carries, a slice of each x along its first axis, and the constants; its outputs are the next
# carries, and a slice of each y. Results: the final carries, and the stacked ys. Iteration i reads
# and writes slice i, or slice length - 1 - i if `reverse`.


def _scan_spec(*specs: TensorSpec, body: Subgraph, carries, xs, length,
               reverse) -> tuple[TensorSpec, ...]:
    graph = body.graph
    slices = [TensorSpec(s.shape[1:], s.dtype) for s in specs[carries:carries + xs]]
    body_inputs = (*specs[:carries], *slices, *specs[carries + xs:])
    assert body_inputs == tuple(v.spec for v in graph.inputs), \
        f"scan: {body_inputs} do not match the inputs of its body"
    outs = [o.spec for o in graph.outputs]
    assert tuple(outs[:carries]) == specs[:carries], "scan: its body changes the spec of a carry"
    return (*outs[:carries], *(TensorSpec((length, *s.shape), s.dtype) for s in outs[carries:]))


def _scan(np, *args, body: Subgraph, carries, xs, length, reverse):
    state, stacked, constants = args[:carries], args[carries:carries + xs], args[carries + xs:]
    specs = [o.spec for o in body.graph.outputs[carries:]]
    ys = [np.zeros((length, *spec.shape), spec.dtype.name) for spec in specs]
    for i in reversed(range(length)) if reverse else range(length):
        slices = [np.asarray(x[i]) for x in stacked]
        outs = interpret(np, body.graph, [*state, *slices, *constants])
        state = outs[:carries]
        for y, out in zip(ys, outs[carries:]):
            y[i] = out
    return (*state, *ys)


primitive("scan", "scan", _scan_spec, scan_vjp, _scan)

# ── tracing of the body ───────────────────────────────────────────────────────────────────────


def scan_loop(f: Callable, carries, xs=(), length: int | None = None, reverse: bool = False):
    """Run `carries, y = f(carries, x)` for the slices x of `xs` along the first axis, as one loop.

    `carries`, `xs` and y are tensors or nested structures of tensors. f is traced once. Returns
    (final carries, ys stacked along a first axis of size `length`). `length` is required if there
    are no xs; `reverse` iterates from the last slice to the first. Variables that f assigns become
    carries, and have their final value after the loop. Raises InvalidArgumentError if f changes the
    shape or dtype of a carry.

    >>> total, sums = scan_loop(lambda s, x: (s + x, s + x), 0.0, tf.constant([1., 2., 3.]))
    >>> sums.tolist()
    [1.0, 3.0, 6.0]
    """
    init, structure = _tensors(carries)
    stacked, x_structure = _tensors(xs)
    length = _length(stacked, length)
    trace = SubgraphTrace()
    carry_tracers = [trace.placeholder(t.spec) for t in init]
    slices = [trace.placeholder(TensorSpec(t.spec.shape[1:], t.dtype)) for t in stacked]
    with tapes_paused(), context(trace):
        new, ys = f(tree.unflatten(structure, carry_tracers), tree.unflatten(x_structure, slices))
        new, new_structure = tree.flatten(new)
        new = [as_tensor(n, None if isinstance(n, (Tensor, Variable)) else t.dtype)
               for n, t in zip(new, init)]
        outs, y_structure = tree.flatten(ys)
        outs = [as_tensor(o) for o in outs]
    _check_carries(init, structure, new, new_structure)
    results = _bind_scan(trace, init, stacked, new, outs, length, reverse)
    n = len(init)
    return tree.unflatten(structure, results[:n]), tree.unflatten(y_structure, results[n:])


def _tensors(values) -> tuple[list[Tensor], Any]:
    leaves, structure = tree.flatten(values)
    return [as_tensor(leaf) for leaf in leaves], structure


def _length(stacked: list[Tensor], length: int | None) -> int:
    """The number of iterations: the common size of the first axes."""
    sizes = {length} if length is not None else set()
    for x in stacked:
        if not x.shape:
            raise InvalidArgumentError("scan", "one of the xs is a scalar",
                                       "each needs a first axis to iterate over")
        sizes.add(x.shape[0])
    if not sizes:
        raise InvalidArgumentError("scan", "there are no xs", "pass a length")
    if len(sizes) > 1:
        raise InvalidArgumentError("scan", f"the first axes have sizes {sorted(sizes)}",
                                   "all xs need the same number of slices")
    return sizes.pop()


def _check_carries(init, structure, new, new_structure) -> None:
    if new_structure != structure or len(new) != len(init):
        raise InvalidArgumentError(
            "scan", "the body changes the structure of the carries",
            "return carries in the structure of the argument")
    for i, (old, out) in enumerate(zip(init, new)):
        if old.spec != out.spec:
            raise InvalidArgumentError(
                "scan", f"the body changes carry {i} from {old.spec} to {out.spec}",
                "keep its shape and dtype")


def _bind_scan(trace: SubgraphTrace, init, stacked, new, outs, length: int,
               reverse: bool) -> list[Tensor]:
    """Bind the scan of a traced body. Assigned Variables are carries, other captures constants."""
    graph, assigned = trace.graph, trace.assigned_variables
    graph.outputs = [trace.atom(o) for o in (*new, *assigned.values(), *outs)]
    num_explicit = len(init) + len(stacked)
    captures: list[tuple[Var, Tensor | Variable]] = \
        list(zip(graph.inputs[num_explicit:], trace.captured))
    carried = [next(pair for pair in captures if pair[1] is v) for v in assigned]
    constant = [pair for pair in captures if not any(pair[1] is v for v in assigned)]
    graph.inputs = [*graph.inputs[:len(init)], *(var for var, _ in carried),
                    *graph.inputs[len(init):num_explicit], *(var for var, _ in constant)]
    args = [*init, *map(_captured_tensor, carried), *stacked, *map(_captured_tensor, constant)]
    num_carries = len(init) + len(carried)
    results = bind("scan", *args, body=Subgraph(graph), carries=num_carries, xs=len(stacked),
                   length=length, reverse=bool(reverse))
    for variable, value in zip(assigned, results[len(init):]):
        variable.assign(value)
    return [*results[:len(init)], *results[num_carries:]]


def _captured_tensor(capture: tuple[Var, Tensor | Variable]) -> Tensor:
    x = capture[1]
    # Variable.value, not x.value: a subclass may convert the value when it is read.
    return Variable.value(x) if isinstance(x, Variable) else x


# ── tf.scan ───────────────────────────────────────────────────────────────────────────────────


def scan(fn: Callable, elems, initializer=None, parallel_iterations=10, back_prop=True,
         swap_memory=False, infer_shape=True, reverse=False, name=None):
    """Cumulative application along the first axis: out[i] = fn(out[i - 1], elems[i]).

    out[0] is fn(initializer, elems[0]), or elems[0] without an initializer. `reverse` starts at the
    last element. `parallel_iterations`, `back_prop`, `swap_memory`, `infer_shape` and `name` exist
    for compatibility and have no effect.

    >>> tf.scan(lambda total, x: total + x, tf.constant([1, 2, 3])).tolist()
    [1, 3, 6]
    """
    elems = tree.tree_map(as_tensor, elems)
    first = None
    if initializer is None:
        index = -1 if reverse else 0
        if any(x.shape[:1] == (0,) for x in tree.flatten(elems)[0]):
            raise InvalidArgumentError("scan", "elems are empty", "pass an initializer")
        first = initializer = tree.tree_map(lambda x: x[index], elems)
        elems = tree.tree_map(lambda x: x[:-1] if reverse else x[1:], elems)

    def step(total, x):
        out = fn(total, x)
        return out, out

    outs = scan_loop(step, initializer, elems, reverse=reverse)[1]
    if first is None:
        return outs
    return tree.tree_map(lambda x, ys: _add_slice(x, ys, at_end=reverse), first, outs)


def _add_slice(x: Tensor, stacked: Tensor, at_end: bool) -> Tensor:
    """Prepend or append one slice along the first axis."""
    new = bind("reshape", x, shape=(1, *x.shape))
    return bind("concat", *((stacked, new) if at_end else (new, stacked)), axis=0)
