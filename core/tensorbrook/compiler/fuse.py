"""Graph -> kernels: what visits the same index space shares a kernel; movement is a change of view.

Equations are taken in order. A map joins the latest kernel that makes one of its arguments, or else
a later one that reads one of them too, if that kernel visits the same elements in the same order;
so a chain, and all that hangs on it, is one pass. A fold joins the kernel of what it folds, and
maps of its result are late values there. A map that reads such a value through a broadcast goes
over the row again, in the same kernel. Joining the *latest* maker, or a kernel after it, keeps the
order right: whatever else the equation reads exists by then. Last, a kernel that waits
for a later one moves into it (see merge.py), and what follows a product becomes its epilogue (see
epilogue.py).
"""
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ..base import shapes
from ..base.views import View
from ..ir import PRIMS, Atom, Call, Const, Eqn, Graph, Kernel, Limits, Repeat, Spec, Var
from .again import computed_anew
from .buffers import Buffers
from .epilogue import Followed, divided, followed
from .finite import marked
from .group import Group
from .memory import may_lie_over
from .merge import merge
from .operands import Casting, casting
from .recast import without_casts
from .regions import stored_by_makers
from .repeat import repeat_of


def fuse(graph: Graph, limits: Limits, known: Mapping[Var, Atom] = MappingProxyType({})) \
        -> tuple[list[Kernel], list[Var]]:
    """The kernels that carry out the graph, and the variable that each output is written to.
    `known` tells of inputs that are another program's buffers, of as many elements."""
    graph = casting(graph, limits)
    in_place = dict(graph.updates) if limits.buffers < Limits().buffers else {}
    while True:
        kernels, outputs, buffers = _fused(graph, limits, known, in_place)
        stay = {i: j for i, j in in_place.items()
                if buffers.over.get(outputs[i]) is graph.inputs[j]
                and may_lie_over(outputs[i], graph.inputs[j], kernels, limits)}
        if stay == in_place:
            lean = without_casts(kernels, outputs, limits)
            fits = all(may_lie_over(outputs[i], graph.inputs[j], lean, limits)
                       for i, j in in_place.items())
            over = {outputs[i]: graph.inputs[j] for i, j in in_place.items()}
            lean = computed_anew(lean if fits else kernels, outputs, graph, over, limits)
            return marked(lean, outputs, limits), outputs
        in_place = stay                  # kernels with the others may touch more than was counted


def _fused(graph: Graph, limits: Limits, known: Mapping[Var, Atom],
           in_place: Mapping[int, int]) -> tuple[list[Kernel], list[Var], Buffers]:
    """The kernels, if these outputs lie over those inputs."""
    f = _Fusion(graph, limits, in_place)
    f.sources |= {v: (a, View.of(v.spec.shape)) for v, a in known.items()}
    for e in graph.eqns:
        _TAKE[e.prim.kind](f, e)
    outputs = f.outputs_of_their_own(graph)
    overwritten = {graph.inputs[j]: outputs[i] for i, j in graph.updates.items()}
    kernels = divided(f.kernels, outputs, limits, f.regrouped,
                      lambda atom: f.source(atom)[0])
    f.kernels = stored_by_makers(merge(kernels, overwritten, f.joined), f.buffers)
    needed = f.needed(outputs)
    kernels = [k if isinstance(k, (Call, Repeat)) else k.close(needed) for k in f.kernels]
    return kernels, outputs, f.buffers


class _Fusion:
    def __init__(self, graph: Graph, limits: Limits, in_place: Mapping[int, int]):
        self.limits = limits
        self.buffers = Buffers(graph, limits.buffers, in_place)
        self.kernels: list[Group | Call | Followed | Repeat] = []
        self.maker: dict[Var, int] = {}                 # base variable -> the kernel that makes it
        self.sources: dict[Atom, tuple[Atom, View]] = {
            v: (v, View.of(v.spec.shape)) for v in graph.inputs}

    def source(self, atom: Atom) -> tuple[Atom, View]:
        """Where an atom's elements lie: a buffer, and the view of it."""
        return self.sources.get(atom) or (atom, View.of(atom.spec.shape))

    def open(self, group: Group | Call | Repeat) -> int:
        self.kernels.append(group)
        return len(self.kernels) - 1

    def makes(self, e_out: Var, kernel: int) -> None:
        self.maker[e_out] = kernel
        self.sources[e_out] = (e_out, View.of(e_out.spec.shape))

    def latest(self, args) -> int | None:
        bases = [base for base, _ in map(self.source, args)]
        return max((self.maker[b] for b in bases if b in self.maker), default=None)

    # ── maps ──

    def take_map(self, e: Eqn) -> None:
        k = next((k for k in self.candidates(e) if self.joins(k, e)), None)
        if k is None:
            k = self.open(group := Group(e.out.spec.shape))
            self.add(group, e, late=False)
        self.makes(e.out, k)

    def candidates(self, e: Eqn):
        """The kernels a map may join: the latest maker of its arguments, then readers after it."""
        latest = self.latest(e.args)
        if latest is not None:
            yield latest
        # Where one number is all that is shared, as a rate, room would tear two updates apart.
        bases = {base for base, _ in map(self.source, e.args) if isinstance(base, Var)
                 and (base.spec.count > 1 or e.out.spec.count == 1)}
        for k in range(0 if latest is None else latest + 1, len(self.kernels)):
            group = self.kernels[k]
            if isinstance(group, Group) and not bases.isdisjoint(group.read[False]):
                yield k

    def joins(self, k: int, e: Eqn) -> bool:
        """Put a map into kernel k, if its space, its values and the limits allow."""
        group = self.kernels[k]
        return isinstance(group, Group) and self.has_room(group, e) and self.put_map(group, e)

    def has_room(self, group: Group, e: Eqn) -> bool:
        return self.buffers.take(group, e, [self.source(a)[0] for a in e.args])

    def put_map(self, group: Group, e: Eqn) -> bool:
        for late in (False, True) if group.axes else (False,):
            if self.fits(group, e, late):
                self.add(group, e, late)
                return True
        return False

    def fits(self, group: Group, e: Eqn, late: bool) -> bool:
        space = group.outer if late else group.space
        if shapes.size(space) != e.out.spec.count or group.stored:
            return False
        for arg in e.args:
            base, view = self.source(arg)
            if isinstance(base, Const) and base.is_number:
                continue
            seen = self.seen(view, e.out.spec.shape, space)
            if seen is None or not self.readable(group, base, seen, late):
                return False
        return True

    @staticmethod
    def readable(group: Group, base: Atom, seen: View, late: bool) -> bool:
        """Whether a value can be had there: in order, loaded, or late and the same along a row."""
        made = group.level(base)
        if made and not late:
            return group.is_row(seen) and group.goes_over_rows()
        return made is None or made == late and seen.contiguous

    @staticmethod
    def seen(view: View, shape, space) -> View | None:
        """A view that broadcasts to `shape`, over a space of as many elements."""
        return view.broadcast_to(shape).reshape(space)

    def add(self, group: Group, e: Eqn, late: bool) -> None:
        space = group.outer if late else group.space
        args = []
        for arg in e.args:
            base, view = self.source(arg)
            args.append(group.value_of(base, self.seen(view, e.out.spec.shape, space), late))
        group.apply(e, args, late)

    def take_index(self, e: Eqn) -> None:
        k = self.open(group := Group(e.attrs["shape"]))
        group.count(e, counter(e).strides)
        self.makes(e.out, k)

    # ── folds ──

    def take_reduce(self, e: Eqn) -> None:
        x, axes = e.args[0], e.attrs["axes"]
        base, view = self.source(x)
        k = self.maker.get(base) if isinstance(base, Var) else None
        if k is None or not self.folds_into(k, base, view, e):
            k = self.open(group := Group(x.spec.shape, axes))
            group.fold(e, group.value_of(base, view, False))
        self.makes(e.out, k)

    def folds_into(self, k: int, base: Var, view: View, e: Eqn) -> bool:
        """Fold a value in the kernel that makes it, if that visits the elements in this order."""
        group, shape, axes = self.kernels[k], view.shape, e.attrs["axes"]
        if not isinstance(group, Group) or group.stored:
            return False
        if group.level(base) is not False or not view.contiguous:
            return False
        if group.axes and (group.axes != axes or group.space != shape):
            return False
        if not self.has_room(group, e):
            return False
        if not group.axes:
            values = group.respaced(shape)
            if values is None:
                return False
            group.respace(shape, values)
            group.axes = axes
        group.fold(e, group.value_of(base, None, False))
        return True

    # ── movement ──

    def take_view(self, e: Eqn) -> None:
        base, view = self.source(e.args[0])
        moved = e.prim.view(view, **e.attrs)
        if moved is None:
            base = self.copied(e.args[0])
            moved = e.prim.view(View.of(view.shape), **e.attrs)
        self.sources[e.out] = base, moved

    def copied(self, atom: Atom) -> Var:
        """A new variable with the same elements in a buffer of its own, in order."""
        out = Var(Spec(atom.spec.shape, atom.spec.dtype))
        self.take_map(Eqn(PRIMS["identity"], (atom,), {}, (out,)))
        return out

    def take_region(self, e: Eqn) -> None:
        fill, parts = e.prim.region([a.spec for a in e.args], **e.attrs)
        last = -1
        if fill is not None:
            last = self.open(group := Group(e.out.spec.shape))
            number = Const(Spec((), e.out.spec.dtype), fill)
            group.copy(e, group.value_of(number, None, False))
        for i, region in parts:
            last = self.open(group := Group(region.shape))
            group.copy(e, group.value_of(*self.source(e.args[i]), False))
            group.stored[e.out] = region
        self.makes(e.out, last)

    # ── kernels of the engine ──

    def take_call(self, e: Eqn) -> None:
        reads = tuple(self.buffer(a) for a in e.args)
        results = tuple(v.spec for v in e.outs) if len(e.outs) > 1 else e.out.spec
        function, numbers, work = e.prim.call([a.spec for a in e.args], results, **e.attrs)
        loads = e.loads if isinstance(e, Casting) else ()
        k = self.open(Call(function, reads, e.outs, numbers, work, (e,),
                           staged=self.limits.staged, loads=loads))
        for out in e.outs:
            self.makes(out, k)

    def take_scan(self, e: Eqn) -> None:
        k = self.open(repeat_of(e, [self.buffer(a) for a in e.args], self.limits, fuse))
        for out in e.outs:
            self.makes(out, k)

    def buffer(self, atom: Atom) -> Atom:
        """A buffer that holds the atom's elements in order: its own if it has one, else a copy."""
        base, view = self.source(atom)
        plain = view.contiguous and base.spec.count == atom.spec.count
        number = isinstance(base, Const) and base.is_number
        return base if plain and not number else self.copied(atom)

    # ── ends ──

    def outputs_of_their_own(self, graph: Graph) -> list[Var]:
        """Each output as a variable that a kernel makes, in order, and that no other output is."""
        outputs: list = []
        for o in graph.outputs:
            base, view = self.source(o)
            own = isinstance(base, Var) and base in self.maker and base not in outputs
            own = own and view.contiguous and base.spec.count == o.spec.count
            outputs.append(base if own else self.copied(o))
        return outputs

    def needed(self, outputs) -> set:
        """The variables that someone beyond their own kernel reads."""
        wanted = set(outputs)
        for k in self.kernels:
            wanted.update(k.reads)
        return wanted

    # ── two kernels in one ──

    def joined(self, first: Group | Call, second: Group) -> Group | Followed | None:
        """All of two kernels in one, if the spaces, values and limits allow."""
        if isinstance(first, Call):
            return followed(first, second, self.limits, self.regrouped, self.buffers)
        rows = second if second.axes else first
        whole = self.regrouped(rows.space, rows.axes, first.eqns + second.eqns)
        if whole is None or not first.axes or whole.goes_over_rows():
            return whole
        return None if any(stage for stage, _ in whole.parts) else whole

    def regrouped(self, space, axes, eqns: Iterable[Eqn]) -> Group | None:
        """A group of its own for these equations, if they fit."""
        whole = Group(space, axes)
        puts = {"map": self.put_map, "index": self.put_index, "reduce": self.put_fold}
        together = all(e.prim.kind in puts and puts[e.prim.kind](whole, e) for e in eqns)
        return whole if together and self.buffers.touched(whole) <= self.limits.buffers else None

    @staticmethod
    def put_index(group: Group, e: Eqn) -> bool:
        same = shapes.size(group.space) == e.out.spec.count
        view = counter(e).reshape(group.space) if same else None
        if view is not None:
            group.count(e, view.strides, view.offset)
        return view is not None

    def put_fold(self, group: Group, e: Eqn) -> bool:
        base, view = self.source(e.args[0])
        if view.shape != group.space or e.attrs["axes"] != group.axes:
            return False
        if not self.readable(group, base, view, late=False) or group.level(base):
            return False
        group.fold(e, group.value_of(base, view, False))
        return True


def counter(e: Eqn) -> View:
    """The steps of an index equation, as if they were strides."""
    shape, axis = e.attrs["shape"], e.attrs["axis"]
    return View(tuple(shape), tuple(int(i == axis) for i in range(len(shape))))


_TAKE = {"map": _Fusion.take_map, "index": _Fusion.take_index, "reduce": _Fusion.take_reduce,
         "view": _Fusion.take_view, "region": _Fusion.take_region, "call": _Fusion.take_call,
         "scan": _Fusion.take_scan}
