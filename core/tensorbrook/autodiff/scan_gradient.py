"""Scan gradient: reverse-mode differentiation of a scan as a reversed scan over the body's VJP.

The body is replayed under a tape, and the tape is backpropagated, into one graph. The forward
equations are bound again as a scan with additional outputs, the stacked residuals; the compiler
merges it with the original scan and removes unused outputs. The backward equations become the body
of the reversed scan.

The cotangent of a constant, such as a weight, is a sum over all iterations. If its terms are matrix
products or reductions, the reversed scan only stacks their operands, and a single product or
reduction after the scan covers all iterations. Otherwise the scan accumulates the sum in a carry.
"""
from collections.abc import Callable

from ..ir import PRIMITIVES, Atom, Const, Eqn, Graph, Subgraph, Var
from ..ir.analysis import backward_slice, producers
from ..tensor import Tensor, as_tensor, bind, context, tapes_paused
from ..trace import SubgraphTrace, inline_graph
from .tape import GradientTape

Values = dict[Atom, Tensor]
# Computes the sum of a cotangent over all iterations, from the final carries of the reversed scan
# and the stacked values of all iterations.
SumOverIterations = Callable[[Values, Values], Tensor]

# Linear primitives of one operand: they commute with the sum over iterations.
LINEAR_UNARY = ("reshape", "transpose", "negative", "identity", "cast")


def scan_vjp(gs, outs, *args, body, carries, xs, length, reverse):
    """The cotangents of a scan's arguments, from the cotangents `gs` of its results."""
    vjp = _ScanBodyVjp(body.graph, carries, xs, gs)
    stacks = dict(zip(vjp.inputs[carries:], args[carries:carries + xs]))
    stacks.update((g, gs[i]) for i, g in vjp.output_cotangents.items() if i >= carries)
    stacks.update(_bind_residual_scan(vjp, args, length, reverse))
    return vjp.input_cotangents(*_bind_backward_scan(vjp, gs, args, stacks, length, reverse))


def _bind_residual_scan(vjp: "_ScanBodyVjp", args, length: int, reverse: bool) -> dict[Var, Tensor]:
    """The stacked residuals, by variable, from a forward scan with additional outputs."""
    if not vjp.residuals:
        return {}
    carry_index = {v: i for i, v in enumerate(vjp.inputs[:vjp.carries])}
    # The residual of a carry input is derived from the carry's output, which is shifted by one.
    extra = [vjp.outputs[carry_index[v]] if v in carry_index else v for v in vjp.residuals]
    graph = Graph(vjp.inputs, vjp.forward, [*vjp.outputs, *extra])
    outs = bind("scan", *args, body=Subgraph(graph), carries=vjp.carries, xs=vjp.xs, length=length,
                reverse=reverse)
    residuals = dict(zip(vjp.residuals, outs[len(vjp.outputs):]))
    for var in residuals:
        if var in carry_index:
            init = args[carry_index[var]]
            residuals[var] = _carry_inputs(init, residuals[var], reverse)
    return residuals


def _carry_inputs(init: Tensor, outputs: Tensor, reverse: bool) -> Tensor:
    """The stacked inputs of a carry in all iterations, from its stacked outputs."""
    n, shape = outputs.shape[0] - 1, tuple(init.shape)
    parts = [bind("reshape", init, shape=(1, *shape))]
    if n < 0:
        return outputs
    if n:
        begin = (int(reverse), *(0 for _ in shape))
        steps = (1,) * outputs.ndim
        later = bind("slice", outputs, begin=begin, shape=(n, *shape), steps=steps)
        parts.insert(0 if reverse else 1, later)
    return bind("concat", *parts, axis=0)


def _bind_backward_scan(vjp: "_ScanBodyVjp", gs, args, stacks, length: int,
                        reverse: bool) -> tuple[Values, Values]:
    """Bind the reversed scan.

    Returns the final carries, by the variable of the carry's input, and the stacked values, by the
    variable of one iteration's value.
    """
    carry_gs = {i: g for i, g in vjp.output_cotangents.items() if i < vjp.carries}
    init = [_zeros_if_none(gs[i], g) for i, g in carry_gs.items()]
    init += [_zeros_if_none(None, accumulator) for accumulator in vjp.accumulators]
    constants = vjp.inputs[vjp.carries + vjp.xs:]
    carry_inputs = [*carry_gs.values(), *vjp.accumulators]
    graph = Graph([*carry_inputs, *stacks, *constants, *vjp.captured_inputs], vjp.backward_eqns,
                  [*vjp.carry_cotangents, *vjp.accumulators.values(), *vjp.stacked_outputs])
    outs = bind("scan", *init, *stacks.values(), *args[vjp.carries + vjp.xs:],
                *vjp.captured, body=Subgraph(graph), carries=len(carry_inputs), xs=len(stacks),
                length=length, reverse=not reverse)
    final = dict(zip(carry_inputs, outs))
    return final, stacks | dict(zip(vjp.stacked_outputs, outs[len(carry_inputs):]))


def _zeros_if_none(g: Tensor | None, like: Var) -> Tensor:
    spec = like.spec
    return bind("broadcast_to", as_tensor(0, spec.dtype), shape=spec.shape) if g is None else g


class _ScanBodyVjp:
    """The VJP of one iteration of a scan, as equations.

    inputs, forward, outputs   the inputs, equations and outputs of the body
    output_cotangents          output index -> variable of its cotangent, an input of backward_eqns
    carry_cotangents           the cotangents of the carry inputs, which backward_eqns compute
    input_gs                   the cotangents of all inputs of the body
    backward_eqns              the body of the reversed scan, with recomputed forward equations
    residuals                  forward values, or carry inputs, that backward_eqns need
    stacked_outputs            values of backward_eqns that are stacked over the iterations
    accumulators               carries for sums over iterations: input variable -> output variable
    captured, captured_inputs  tensors that the VJP captures from outside, and their variables
    """

    def __init__(self, graph: Graph, carries: int, xs: int, gs):
        self.carries, self.xs = carries, xs
        self._differentiate(graph, gs)
        self.residuals: dict[Var, None] = {}
        self.stacked_outputs: dict[Var, None] = {}
        self.accumulators: dict[Var, Var] = {}
        self._accumulate_eqns: list[Eqn] = []
        # Values of which the reversed scan receives a slice in any case.
        self._sliced = {*self.inputs[carries:carries + xs],
                        *(g for i, g in self.output_cotangents.items() if i >= carries)}
        constant_gs = self.input_gs[carries + xs:]
        self._sums = [None if g is None else self._sum_over_iterations(g) for g in constant_gs]
        for g in self.input_gs[carries:carries + xs]:
            if isinstance(g, Var):
                self._request_stack(g)
        self._partition_forward()

    def _differentiate(self, graph: Graph, gs) -> None:
        """Trace the body and its backward pass into one graph."""
        trace = SubgraphTrace()
        xs = [trace.placeholder(v.spec) for v in graph.inputs]
        with tapes_paused(), context(trace):
            with GradientTape() as tape:
                tape.watch([x for x in xs if x.dtype.is_floating])
                outs = inline_graph(graph, xs)
            self.forward = list(trace.graph.eqns)
            out_gs = {i: trace.placeholder(o.spec) for i, o in enumerate(outs)
                      if o.dtype.is_floating and (i < self.carries or gs[i] is not None)}
            floating = [x for x in xs if x.dtype.is_floating]
            floating_gs = iter(
                tape.gradient([outs[i] for i in out_gs], floating, list(out_gs.values())))
            in_gs = [next(floating_gs) if x.dtype.is_floating else None for x in xs]
            self.carry_cotangents = [trace.atom(_zeros_if_none(in_gs[i], xs[i].atom))
                                     for i in out_gs if i < self.carries]
        self.inputs = [x.atom for x in xs]
        self.outputs = [trace.atom(o) for o in outs]
        self.output_cotangents = {i: g.atom for i, g in out_gs.items()}
        self.input_gs: list[Atom | None] = [None if g is None else trace.atom(g) for g in in_gs]
        self._vjp_eqns = trace.graph.eqns[len(self.forward):]
        self._vjp_producer = producers(self._vjp_eqns)
        self.captured = trace.captured
        self.captured_inputs = trace.graph.inputs[len(xs) + len(out_gs):]

    # ── sums over all iterations ──

    def _sum_over_iterations(self, g: Atom) -> SumOverIterations:
        """Request the stacks or the accumulator for the sum of `g`, and return its computation."""
        e = self._vjp_producer.get(g)
        if e is not None and e.prim.name in LINEAR_UNARY:
            inner = self._sum_over_iterations(e.args[0])
            return lambda final, stacks: bind(e.prim.name, inner(final, stacks), **e.attrs)
        if e is not None and e.prim.name == "add" and all(a.spec == g.spec for a in e.args):
            terms = [self._sum_over_iterations(a) for a in e.args]
            return lambda final, stacks: bind("add", *(term(final, stacks) for term in terms))
        if e is not None and e.prim.name == "reduce_sum" and self._stack_if_local(e.args[0]):
            axes = (0, *(a + 1 for a in e.attrs["axes"]))
            return lambda final, stacks: bind("reduce_sum", stacks[e.args[0]], axes=axes)
        if e is not None and e.prim.name == "matmul" and len(g.spec.shape) == 2:
            if all(map(self._is_loop_local, e.args)) and all(map(self._stack_if_local, e.args)):
                return lambda final, stacks: _matmul_over_iterations(
                    *(stacks[a] for a in e.args), **e.attrs)
        return self._accumulate_in_carry(g)

    def _accumulate_in_carry(self, g: Atom) -> SumOverIterations:
        total_in, total_out = Var(g.spec), Var(g.spec)
        self.accumulators[total_in] = total_out
        self._accumulate_eqns.append(Eqn(PRIMITIVES["add"], (total_in, g), {}, (total_out,)))
        return lambda final, stacks: final[total_in]

    def _is_loop_local(self, atom: Atom) -> bool:
        """Whether the value may differ between iterations."""
        return isinstance(atom, Var) and atom not in self.inputs[self.carries + self.xs:]

    def _stack_if_local(self, atom: Atom) -> bool:
        """Request the stacked value if it is local to an iteration; returns whether it is."""
        if self._is_loop_local(atom):
            self._request_stack(atom)
            return True
        return False

    def _request_stack(self, var: Var) -> None:
        if var in self._sliced:
            return
        if var in self._vjp_producer or var in self.output_cotangents.values():
            self.stacked_outputs[var] = None
        else:
            self.residuals[var] = None

    # ── residuals and recomputation ──

    def _partition_forward(self) -> None:
        """Determine the backward equations, and which forward values they recompute or store."""
        eqns = backward_slice(
            [*self._vjp_eqns, *self._accumulate_eqns],
            [*self.carry_cotangents, *self.accumulators.values(), *self.stacked_outputs])
        self._forward_producer = producers(self.forward)
        needed = {a for e in eqns for a in e.args} | {*self.carry_cotangents}
        recomputed: set[int] = set()                # ids of equations
        available = {*self._sliced, *self.inputs[self.carries + self.xs:], *self.residuals}
        # Residuals first: then more of the other values can be recomputed from them.
        for cheap in (False, True):
            for var in [*self.inputs[:self.carries], *self._forward_producer]:
                if var in needed and self._is_cheap_to_recompute(var, available) == cheap:
                    self._require(var, available, recomputed)
        self.backward_eqns = [e for e in self.forward if id(e) in recomputed] + eqns

    def _require(self, var: Var, available: set, recomputed: set[int]) -> None:
        """Make a forward value available in the backward body: recompute it if that is cheap,
        otherwise store it as a residual."""
        if var in available:
            return
        available.add(var)
        if not self._is_cheap_to_recompute(var, available):
            self.residuals[var] = None
            return
        e = self._forward_producer[var]
        recomputed.add(id(e))
        for arg in e.args:
            if isinstance(arg, Var):
                self._require(arg, available, recomputed)

    def _is_cheap_to_recompute(self, var: Var, available: set) -> bool:
        """Whether recomputation costs less than a store and a load: for views and indices, and for
        simple arithmetic on available values."""
        e = self._forward_producer.get(var)
        if e is None or e.prim.kind not in ("view", "iota", "elementwise"):
            return False
        is_simple = e.prim.kind != "elementwise" or e.prim.expression.cost <= 1
        return is_simple and (e.prim.kind != "elementwise" or all(
            isinstance(a, Const) or a in available for a in e.args))

    # ── results ──

    def input_cotangents(self, final: Values, stacks: Values) -> list[Tensor | None]:
        """The cotangents of the scan's arguments, from the results of the reversed scan."""
        carry_gs = self.output_cotangents
        of_carries = [final[carry_gs[i]] if i in carry_gs else None for i in range(self.carries)]
        x_gs = self.input_gs[self.carries:self.carries + self.xs]
        return [*of_carries, *(None if g is None else stacks[g] for g in x_gs),
                *(total and total(final, stacks) for total in self._sums)]


def _matmul_over_iterations(x: Tensor, y: Tensor, transpose_a=False, transpose_b=False) -> Tensor:
    """The sum over iterations of matrix products, as one product of the stacked operands."""
    def flattened(stack: Tensor, contracts_rows: bool) -> Tensor:
        """(iterations * contracted size, other size)."""
        if not contracts_rows:
            stack = bind("transpose", stack, perm=(0, 2, 1))
        iterations, inner, outer = stack.shape
        return bind("reshape", stack, shape=(iterations * inner, outer))

    return bind("matmul", flattened(x, bool(transpose_a)), flattened(y, not transpose_b),
                transpose_a=True, transpose_b=False)
