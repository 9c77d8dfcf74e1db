"""The gradient of a scan: a scan the other way, over the gradient of its body.

One turn of the body is replayed under a tape, and the tape walked back, into one graph. Its first
part is the loop that was; what the second part needs of it is saved, a piece each turn, by binding
that loop once more with more results. The compiler makes one of the two loops, and drops what
nobody reads. The second part is the body of the loop that goes back.

The gradient of a constant, a weight, is a sum over all turns. Where it is a sum of products, of
slices, or of what is folded, the loop only keeps what goes into them, and one product after it
takes all turns at once; otherwise the sum is carried along.
"""
from collections.abc import Callable

from ..ir import PRIMITIVES, Atom, Subgraph, Const, Eqn, Graph, Var
from ..tensor import Tensor, as_tensor, bind, context, tapes_paused
from ..trace import SubgraphTrace, inline_graph
from .tape import GradientTape

# Functions of one argument that may as well be taken of the sum over all turns.
Known = dict[Atom, Tensor]
LINEAR_UNARY = ("reshape", "transpose", "negative", "identity", "cast")


def scan_vjp(gs, outs, *args, body, carries, xs, length, reverse):
    """Each argument's share of the gradients `gs` of a scan's results."""
    turn = _ScanBodyVjp(body.graph, carries, xs, gs)
    stacks = dict(zip(turn.inputs[carries:], args[carries:carries + xs]))
    stacks.update((seed, gs[i]) for i, seed in turn.seeds.items() if i >= carries)
    stacks.update(_bind_residual_scan(turn, args, length, reverse))
    return turn.shares(*_bind_backward_scan(turn, gs, args, stacks, length, reverse))


def _bind_residual_scan(turn: "_ScanBodyVjp", args, length: int, reverse: bool) -> dict[Var, Tensor]:
    """The pieces of the loop's values that the way back needs, for all turns, by variable."""
    if not turn.saved:
        return {}
    carried = {v: i for i, v in enumerate(turn.inputs[:turn.carries])}
    wanted = [turn.outputs[carried[v]] if v in carried else v for v in turn.saved]
    graph = Graph(turn.inputs, turn.forward, [*turn.outputs, *wanted])
    outs = bind("scan", *args, body=Subgraph(graph), carries=turn.carries, xs=turn.xs, length=length,
                reverse=reverse)
    found = {}
    for var, stack in zip(turn.saved, outs[len(turn.outputs):]):
        found[var] = _carry_inputs(args[carried[var]], stack, reverse) if var in carried else stack
    return found


def _carry_inputs(first: Tensor, stack: Tensor, reverse: bool) -> Tensor:
    """What a carry is at the beginning of each turn, from what it is at the end of each."""
    n, shape = stack.shape[0] - 1, tuple(first.shape)
    parts = [bind("reshape", first, shape=(1, *shape))]
    if n < 0:
        return stack
    if n:
        begin = (int(reverse), *(0 for _ in shape))
        rest = bind("slice", stack, begin=begin, shape=(n, *shape), steps=(1,) * stack.ndim)
        parts.insert(0 if reverse else 1, rest)
    return bind("concat", *parts, axis=0)


def _bind_backward_scan(turn: "_ScanBodyVjp", gs, args, stacks, length: int, reverse: bool) -> tuple[Known, Known]:
    """Run the loop back. Returns the last values of what it carries, by the variable that goes in,
    and the values of all turns, by the variable that holds one of them."""
    seeds = [turn.seeds[i] for i in turn.seeds if i < turn.carries]
    states = [_zeros_if_none(gs[i], seed) for i, seed in turn.seeds.items() if i < turn.carries]
    states += [_zeros_if_none(None, acc) for acc in turn.sums]
    constants = turn.inputs[turn.carries + turn.xs:]
    carried = [*seeds, *turn.sums]
    graph = Graph([*carried, *stacks, *constants, *turn.met], turn.backward,
                  [*turn.new_seeds, *turn.sums.values(), *turn.stacked])
    outs = bind("scan", *states, *stacks.values(), *args[turn.carries + turn.xs:],
                *turn.captured, body=Subgraph(graph), carries=len(carried), xs=len(stacks),
                length=length, reverse=not reverse)
    return dict(zip(carried, outs)), stacks | dict(zip(turn.stacked, outs[len(carried):]))


def _zeros_if_none(g: Tensor | None, like: Var) -> Tensor:
    spec = like.spec
    return bind("broadcast_to", as_tensor(0, spec.dtype), shape=spec.shape) if g is None else g


class _ScanBodyVjp:
    """One turn of a scan and its gradient as equations.

    forward, outputs    what the body computes
    seeds               the gradients of its outputs, by number: inputs of the way back
    backward            what the way back computes, from the seeds and what was saved
    saved               values of the body, or carries as they came in, that it needs
    stacked             values of the way back of which every turn's is kept
    sums                what it adds up over the turns: variable that goes in -> that comes out
    """

    def __init__(self, graph: Graph, carries: int, xs: int, gs):
        self.carries, self.xs = carries, xs
        self._differentiate(graph, gs)
        self.saved: dict[Var, None] = {}
        self.stacked: dict[Var, None] = {}
        self.sums: dict[Var, Var] = {}
        self._extra: list[Eqn] = []
        self._given = {*self.inputs[carries:carries + xs],
                       *(seed for i, seed in self.seeds.items() if i >= carries)}
        constants = self.grads[carries + xs:]
        self._totals = [None if g is None else self._sum_over_iterations(g) for g in constants]
        for g in self.grads[carries:carries + xs]:
            if isinstance(g, Var):
                self._request_stack(g)
        self._partition_forward()

    def _differentiate(self, graph: Graph, gs) -> None:
        """Write the body and its gradient into one trace."""
        trace = SubgraphTrace()
        xs = [trace.placeholder(v.spec) for v in graph.inputs]
        with tapes_paused(), context(trace):
            with GradientTape() as tape:
                tape.watch([x for x in xs if x.dtype.is_floating])
                outs = inline_graph(graph, xs)
            self.forward = list(trace.graph.eqns)
            seeds = {i: trace.placeholder(o.spec) for i, o in enumerate(outs)
                     if o.dtype.is_floating and (i < self.carries or gs[i] is not None)}
            floating = [x for x in xs if x.dtype.is_floating]
            found = iter(tape.gradient([outs[i] for i in seeds], floating, list(seeds.values())))
            grads = [next(found) if x.dtype.is_floating else None for x in xs]
            self.new_seeds = [trace.atom(_zeros_if_none(grads[i], xs[i].atom))
                              for i in seeds if i < self.carries]
        self.inputs = [x.atom for x in xs]
        self.outputs = [trace.atom(o) for o in outs]
        self.seeds = {i: seed.atom for i, seed in seeds.items()}
        self.grads: list[Atom | None] = [None if g is None else trace.atom(g) for g in grads]
        self._after = trace.graph.eqns[len(self.forward):]
        self._maker = {v: e for e in self._after for v in e.outs}
        self.captured = trace.captured
        self.met = trace.graph.inputs[len(xs) + len(seeds):]

    # ── sums over all turns ──

    def _sum_over_iterations(self, g: Atom) -> Callable[[Known, Known], Tensor]:
        """How to get the sum of `g` over all turns after the loop, from last values and all."""
        e = self._maker.get(g)
        if e is not None and e.prim.name in LINEAR_UNARY:
            inner = self._sum_over_iterations(e.args[0])
            return lambda last, all: bind(e.prim.name, inner(last, all), **e.attrs)
        if e is not None and e.prim.name == "add" and all(a.spec == g.spec for a in e.args):
            parts = [self._sum_over_iterations(a) for a in e.args]
            return lambda last, all: bind("add", *(part(last, all) for part in parts))
        if e is not None and e.prim.name == "reduce_sum" and self._stack_if_local(e.args[0]):
            axes = (0, *(a + 1 for a in e.attrs["axes"]))
            return lambda last, all: bind("reduce_sum", all[e.args[0]], axes=axes)
        if e is not None and e.prim.name == "matmul" and len(g.spec.shape) == 2:
            if all(map(self._is_loop_local, e.args)) and all(map(self._stack_if_local, e.args)):
                return lambda last, all: _matmul_over_iterations(*(all[a] for a in e.args), **e.attrs)
        return self._accumulate_in_carry(g)

    def _accumulate_in_carry(self, g: Atom) -> Callable[[Known, Known], Tensor]:
        before, after = Var(g.spec), Var(g.spec)
        self.sums[before] = after
        self._extra.append(Eqn(PRIMITIVES["add"], (before, g), {}, (after,)))
        return lambda last, all: last[before]

    def _is_loop_local(self, atom: Atom) -> bool:
        """Whether it is a tensor of each turn's own."""
        return isinstance(atom, Var) and atom not in self.inputs[self.carries + self.xs:]

    def _stack_if_local(self, atom: Atom) -> bool:
        """Keep every turn's value of it, if it has one."""
        if self._is_loop_local(atom):
            self._request_stack(atom)
            return True
        return False

    def _request_stack(self, var: Var) -> None:
        if var in self._given:
            return
        if var in self._maker or var in self.seeds.values():
            self.stacked[var] = None
        else:
            self.saved[var] = None

    # ── what is saved, and what is computed again ──

    def _partition_forward(self) -> None:
        """Find the equations of the way back, and what they need of the way there."""
        eqns = _backward_slice([*self._after, *self._extra],
                     [*self.new_seeds, *self.sums.values(), *self.stacked])
        self._makes = {v: e for e in self.forward for v in e.outs}
        needed = {a for e in eqns for a in e.args} | {*self.new_seeds}
        again: dict[int, Eqn] = {}
        ready = {*self._given, *self.inputs[self.carries + self.xs:], *self.saved}
        for cheap in (False, True):
            for var in [*self.inputs[:self.carries], *self._makes]:
                if var in needed and self._is_cheap_to_recompute(var, ready) == cheap:
                    self._require(var, ready, again)
        self.backward = [e for e in self.forward if id(e) in again] + eqns

    def _require(self, var: Var, ready: set, again: dict[int, Eqn]) -> None:
        """Let the way back have a value: computed again where that is cheap, else saved."""
        if var in ready:
            return
        ready.add(var)
        if not self._is_cheap_to_recompute(var, ready):
            self.saved[var] = None
            return
        e = self._makes[var]
        again[id(e)] = e
        for arg in e.args:
            if isinstance(arg, Var):
                self._require(arg, ready, again)

    def _is_cheap_to_recompute(self, var: Var, ready: set) -> bool:
        """Whether it takes less to compute a value again than to write it down and read it: a
        view, or simple arithmetic on what is there."""
        e = self._makes.get(var)
        if e is None or e.prim.kind not in ("view", "iota", "elementwise"):
            return False
        plain = "(" not in e.prim.expression and "/" not in e.prim.expression
        return e.prim.kind != "elementwise" or plain and all(
            isinstance(a, Const) or a in ready for a in e.args)

    # ── results ──

    def shares(self, last: Known, all: Known) -> list[Tensor | None]:
        """Each argument's share, from last values and those of all turns of the loop back."""
        first = [last[self.seeds[i]] if i in self.seeds else None for i in range(self.carries)]
        pieces = self.grads[self.carries:self.carries + self.xs]
        return [*first, *(None if g is None else all[g] for g in pieces),
                *(total and total(last, all) for total in self._totals)]


def _backward_slice(eqns: list[Eqn], outputs) -> list[Eqn]:
    """Those equations that the outputs need, in order."""
    live, kept = set(outputs), []
    for e in reversed(eqns):
        if not live.isdisjoint(e.outs):
            live.update(e.args)
            kept.append(e)
    return kept[::-1]


def _matmul_over_iterations(x: Tensor, y: Tensor, transpose_a=False, transpose_b=False) -> Tensor:
    """The sum of the products of all turns, as one product."""
    def joined(stack: Tensor, first: bool) -> Tensor:
        """All turns behind each other along the axis that the products sum over."""
        if not first:
            stack = bind("transpose", stack, perm=(0, 2, 1))
        turns, inner, outer = stack.shape
        return bind("reshape", stack, shape=(turns * inner, outer))

    return bind("matmul", joined(x, bool(transpose_a)), joined(y, not transpose_b),
                transpose_a=True, transpose_b=False)
