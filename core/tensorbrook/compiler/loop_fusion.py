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
from ..ir import PRIMITIVES, Atom, KernelCall, Const, Eqn, Graph, Kernel, TargetInfo, ScanKernel, TensorSpec, Var
from .rematerialization import computed_anew
from .binding_limits import BindingLimits
from .epilogue_fusion import CallWithEpilogue, split_mixed_groups, fuse_epilogue
from .finite_checks import insert_finite_checks
from .fusion_group import FusionGroup
from .buffer_assignment import can_alias
from .producer_fusion import sink_producers
from .operand_cast_fusion import CastingEqn, fuse_operand_casts
from .cast_elimination import eliminate_cast_stores
from .concat_fusion import fuse_region_stores
from .scan_lowering import lower_scan


def fuse(graph: Graph, target: TargetInfo, aliases: Mapping[Var, Atom] = MappingProxyType({})) \
        -> tuple[list[Kernel], list[Var]]:
    """The kernels that carry out the graph, and the variable that each output is written to.
    `known` tells of inputs that are another program's buffers, of as many elements."""
    graph = fuse_operand_casts(graph, target)
    in_place = dict(graph.input_output_aliases) if target.max_buffers_per_kernel < TargetInfo().max_buffers_per_kernel else {}
    while True:
        kernels, outputs, buffers = _fused(graph, target, aliases, in_place)
        stay = {i: j for i, j in in_place.items()
                if buffers.aliases.get(outputs[i]) is graph.inputs[j]
                and can_alias(outputs[i], graph.inputs[j], kernels, target)}
        if stay == in_place:
            lean = eliminate_cast_stores(kernels, outputs, target)
            fits = all(can_alias(outputs[i], graph.inputs[j], lean, target)
                       for i, j in in_place.items())
            over = {outputs[i]: graph.inputs[j] for i, j in in_place.items()}
            lean = computed_anew(lean if fits else kernels, outputs, graph, over, target)
            return insert_finite_checks(lean, outputs, target), outputs
        in_place = stay                  # kernels with the others may touch more than was counted


def _fused(graph: Graph, target: TargetInfo, known: Mapping[Var, Atom],
           in_place: Mapping[int, int]) -> tuple[list[Kernel], list[Var], BindingLimits]:
    """The kernels, if these outputs lie over those inputs."""
    f = _Fusion(graph, target, in_place)
    f.sources |= {v: (a, View.of(v.spec.shape)) for v, a in known.items()}
    for e in graph.eqns:
        _VISIT[e.prim.kind](f, e)
    outputs = f.distinct_outputs(graph)
    overwritten = {graph.inputs[j]: outputs[i] for i, j in graph.input_output_aliases.items()}
    kernels = split_mixed_groups(f.kernels, outputs, target, f.rebuild,
                      lambda atom: f.source(atom)[0])
    f.kernels = fuse_region_stores(sink_producers(kernels, overwritten, f.try_merge), f.buffers)
    needed = f.escaping(outputs)
    kernels = [k if isinstance(k, (KernelCall, ScanKernel)) else k.finalize(needed) for k in f.kernels]
    return kernels, outputs, f.buffers


class _Fusion:
    def __init__(self, graph: Graph, target: TargetInfo, in_place: Mapping[int, int]):
        self.target = target
        self.buffers = BindingLimits(graph, target.max_buffers_per_kernel, in_place)
        self.kernels: list[FusionGroup | KernelCall | CallWithEpilogue | ScanKernel] = []
        self.producer: dict[Var, int] = {}                 # base variable -> the kernel that makes it
        self.sources: dict[Atom, tuple[Atom, View]] = {
            v: (v, View.of(v.spec.shape)) for v in graph.inputs}

    def source(self, atom: Atom) -> tuple[Atom, View]:
        """Where an atom's elements lie: a buffer, and the view of it."""
        return self.sources.get(atom) or (atom, View.of(atom.spec.shape))

    def new_kernel(self, group: FusionGroup | KernelCall | ScanKernel) -> int:
        self.kernels.append(group)
        return len(self.kernels) - 1

    def define(self, e_out: Var, kernel: int) -> None:
        self.producer[e_out] = kernel
        self.sources[e_out] = (e_out, View.of(e_out.spec.shape))

    def latest_producer(self, args) -> int | None:
        bases = [base for base, _ in map(self.source, args)]
        return max((self.producer[b] for b in bases if b in self.producer), default=None)

    # ── maps ──

    def take_map(self, e: Eqn) -> None:
        k = next((k for k in self.candidates(e) if self.try_join(k, e)), None)
        if k is None:
            k = self.new_kernel(group := FusionGroup(e.out.spec.shape))
            self.add(group, e, late=False)
        self.define(e.out, k)

    def candidates(self, e: Eqn):
        """The kernels a map may join: the latest maker of its arguments, then readers after it."""
        latest = self.latest_producer(e.args)
        if latest is not None:
            yield latest
        # Where one number is all that is shared, as a rate, room would tear two updates apart.
        bases = {base for base, _ in map(self.source, e.args) if isinstance(base, Var)
                 and (base.spec.count > 1 or e.out.spec.count == 1)}
        for k in range(0 if latest is None else latest + 1, len(self.kernels)):
            group = self.kernels[k]
            if isinstance(group, FusionGroup) and not bases.isdisjoint(group.sources[False]):
                yield k

    def try_join(self, k: int, e: Eqn) -> bool:
        """Put a map into kernel k, if its space, its values and the limits allow."""
        group = self.kernels[k]
        return isinstance(group, FusionGroup) and self.has_room(group, e) and self.put_map(group, e)

    def has_room(self, group: FusionGroup, e: Eqn) -> bool:
        return self.buffers.can_add(group, e, [self.source(a)[0] for a in e.args])

    def put_map(self, group: FusionGroup, e: Eqn) -> bool:
        for late in (False, True) if group.axes else (False,):
            if self.can_join(group, e, late):
                self.add(group, e, late)
                return True
        return False

    def can_join(self, group: FusionGroup, e: Eqn, late: bool) -> bool:
        space = group.outer if late else group.space
        if shapes.num_elements(space) != e.out.spec.count or group.store_views:
            return False
        for arg in e.args:
            base, view = self.source(arg)
            if isinstance(base, Const) and base.is_scalar:
                continue
            seen = self.view_in(view, e.out.spec.shape, space)
            if seen is None or not self.is_readable(group, base, seen, late):
                return False
        return True

    @staticmethod
    def is_readable(group: FusionGroup, base: Atom, seen: View, late: bool) -> bool:
        """Whether a value can be had there: in order, loaded, or late and the same along a row."""
        made = group.site_of(base)
        if made and not late:
            return group.is_row_broadcast(seen) and group.supports_row_passes()
        return made is None or made == late and seen.contiguous

    @staticmethod
    def view_in(view: View, shape, space) -> View | None:
        """A view that broadcasts to `shape`, over a space of as many elements."""
        return view.broadcast_to(shape).reshape(space)

    def add(self, group: FusionGroup, e: Eqn, late: bool) -> None:
        space = group.outer if late else group.space
        args = []
        for arg in e.args:
            base, view = self.source(arg)
            args.append(group.operand(base, self.view_in(view, e.out.spec.shape, space), late))
        group.apply(e, args, late)

    def take_index(self, e: Eqn) -> None:
        k = self.new_kernel(group := FusionGroup(e.attrs["shape"]))
        group.add_index(e, iota_view(e).strides)
        self.define(e.out, k)

    # ── folds ──

    def take_reduce(self, e: Eqn) -> None:
        x, axes = e.args[0], e.attrs["axes"]
        base, view = self.source(x)
        k = self.producer.get(base) if isinstance(base, Var) else None
        if k is None or not self.try_join_reduction(k, base, view, e):
            k = self.new_kernel(group := FusionGroup(x.spec.shape, axes))
            group.add_reduce(e, group.operand(base, view, False))
        self.define(e.out, k)

    def try_join_reduction(self, k: int, base: Var, view: View, e: Eqn) -> bool:
        """Fold a value in the kernel that makes it, if that visits the elements in this order."""
        group, shape, axes = self.kernels[k], view.shape, e.attrs["axes"]
        if not isinstance(group, FusionGroup) or group.store_views:
            return False
        if group.site_of(base) is not False or not view.contiguous:
            return False
        if group.axes and (group.axes != axes or group.space != shape):
            return False
        if not self.has_room(group, e):
            return False
        if not group.axes:
            values = group.reindexed(shape)
            if values is None:
                return False
            group.set_space(shape, values)
            group.axes = axes
        group.add_reduce(e, group.operand(base, None, False))
        return True

    # ── movement ──

    def take_view(self, e: Eqn) -> None:
        base, view = self.source(e.args[0])
        moved = e.prim.view(view, **e.attrs)
        if moved is None:
            base = self.materialize_copy(e.args[0])
            moved = e.prim.view(View.of(view.shape), **e.attrs)
        self.sources[e.out] = base, moved

    def materialize_copy(self, atom: Atom) -> Var:
        """A new variable with the same elements in a buffer of its own, in order."""
        out = Var(TensorSpec(atom.spec.shape, atom.spec.dtype))
        self.take_map(Eqn(PRIMITIVES["identity"], (atom,), {}, (out,)))
        return out

    def take_region(self, e: Eqn) -> None:
        fill, parts = e.prim.assemble([a.spec for a in e.args], **e.attrs)
        last = -1
        if fill is not None:
            last = self.new_kernel(group := FusionGroup(e.out.spec.shape))
            number = Const(TensorSpec((), e.out.spec.dtype), fill)
            group.add_copy(e, group.operand(number, None, False))
        for i, region in parts:
            last = self.new_kernel(group := FusionGroup(region.shape))
            group.add_copy(e, group.operand(*self.source(e.args[i]), False))
            group.store_views[e.out] = region
        self.define(e.out, last)

    # ── kernels of the engine ──

    def take_call(self, e: Eqn) -> None:
        reads = tuple(self.contiguous_buffer(a) for a in e.args)
        results = tuple(v.spec for v in e.outs) if len(e.outs) > 1 else e.out.spec
        function, numbers, work = e.prim.kernel_call([a.spec for a in e.args], results, **e.attrs)
        loads = e.loads if isinstance(e, CastingEqn) else ()
        k = self.new_kernel(KernelCall(function, reads, e.outs, numbers, work, (e,),
                           result_materialized=self.target.materializes_epilogue_input, operand_dtypes=loads))
        for out in e.outs:
            self.define(out, k)

    def take_scan(self, e: Eqn) -> None:
        k = self.new_kernel(lower_scan(e, [self.contiguous_buffer(a) for a in e.args], self.target, fuse))
        for out in e.outs:
            self.define(out, k)

    def contiguous_buffer(self, atom: Atom) -> Atom:
        """A buffer that holds the atom's elements in order: its own if it has one, else a copy."""
        base, view = self.source(atom)
        plain = view.contiguous and base.spec.count == atom.spec.count
        number = isinstance(base, Const) and base.is_scalar
        return base if plain and not number else self.materialize_copy(atom)

    # ── ends ──

    def distinct_outputs(self, graph: Graph) -> list[Var]:
        """Each output as a variable that a kernel makes, in order, and that no other output is."""
        outputs: list = []
        for o in graph.outputs:
            base, view = self.source(o)
            own = isinstance(base, Var) and base in self.producer and base not in outputs
            own = own and view.contiguous and base.spec.count == o.spec.count
            outputs.append(base if own else self.materialize_copy(o))
        return outputs

    def escaping(self, outputs) -> set:
        """The variables that someone beyond their own kernel reads."""
        wanted = set(outputs)
        for k in self.kernels:
            wanted.update(k.reads)
        return wanted

    # ── two kernels in one ──

    def try_merge(self, first: FusionGroup | KernelCall, second: FusionGroup) -> FusionGroup | CallWithEpilogue | None:
        """All of two kernels in one, if the spaces, values and limits allow."""
        if isinstance(first, KernelCall):
            return fuse_epilogue(first, second, self.target, self.rebuild, self.buffers)
        rows = second if second.axes else first
        whole = self.rebuild(rows.space, rows.axes, first.eqns + second.eqns)
        if whole is None or not first.axes or whole.supports_row_passes():
            return whole
        return None if any(stage for stage, _ in whole.value_sites) else whole

    def rebuild(self, space, axes, eqns: Iterable[Eqn]) -> FusionGroup | None:
        """A group of its own for these equations, if they fit."""
        whole = FusionGroup(space, axes)
        puts = {"elementwise": self.put_map, "iota": self.put_index, "reduce": self.put_fold}
        together = all(e.prim.kind in puts and puts[e.prim.kind](whole, e) for e in eqns)
        return whole if together and self.buffers.count_bindings(whole) <= self.target.max_buffers_per_kernel else None

    @staticmethod
    def put_index(group: FusionGroup, e: Eqn) -> bool:
        same = shapes.num_elements(group.space) == e.out.spec.count
        view = iota_view(e).reshape(group.space) if same else None
        if view is not None:
            group.add_index(e, view.strides, view.offset)
        return view is not None

    def put_fold(self, group: FusionGroup, e: Eqn) -> bool:
        base, view = self.source(e.args[0])
        if view.shape != group.space or e.attrs["axes"] != group.axes:
            return False
        if not self.is_readable(group, base, view, late=False) or group.site_of(base):
            return False
        group.add_reduce(e, group.operand(base, view, False))
        return True


def iota_view(e: Eqn) -> View:
    """The steps of an index equation, as if they were strides."""
    shape, axis = e.attrs["shape"], e.attrs["axis"]
    return View(tuple(shape), tuple(int(i == axis) for i in range(len(shape))))


_VISIT = {"elementwise": _Fusion.take_map, "iota": _Fusion.take_index, "reduce": _Fusion.take_reduce,
         "view": _Fusion.take_view, "assemble": _Fusion.take_region, "kernel": _Fusion.take_call,
         "scan": _Fusion.take_scan}
