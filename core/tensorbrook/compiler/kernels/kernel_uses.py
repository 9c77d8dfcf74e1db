"""Uses of buffers by kernels: consumers, bindings and live bytes, kept while kernels change."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from ...ir import Atom, KernelCall, Load, LoopKernel, TargetInfo, Var, generated_loop
from ..kernel_index import KernelIndex
from ..lowering import Lowering
from ..memory.liveness import LiveBytes, buffer_bytes


class KernelUses(KernelIndex):
    """`updates` maps the old value of a Variable to the new one, `aliases` an output to the input
    that it is written over."""

    def __init__(self, lowering: Lowering, target: TargetInfo):
        super().__init__(lowering.kernels)
        graph, outputs = lowering.graph, lowering.outputs
        self.outputs, self.target = set(outputs), target
        self.updates: Mapping[Var, Var] = {
            graph.inputs[j]: outputs[i] for i, j in graph.input_output_aliases.items()}
        self.aliases: Mapping[Var, Var] = {
            outputs[i]: graph.inputs[j] for i, j in lowering.aliases.items()}
        self.live = LiveBytes(len(self.kernels))
        for v in self.producers:
            if self.is_intermediate(v):
                self.live.add(self.producers[v][0], self.last_use(v), self.aligned_bytes(v))
        self.peak_bytes = self.live.peak

    def loop(self, n: int) -> LoopKernel:
        """The generated loop of kernel n, which has one."""
        loop = generated_loop(self.kernels[n])
        assert loop is not None, "a kernel of the engine has no generated loop"
        return loop

    def adjust_liveness(self, changes: Iterable[tuple[int, int, int]]) -> None:
        """Add live bytes: (first kernel, last kernel, bytes)."""
        for first, last, size in changes:
            self.live.add(first, last, size)

    def last_use(self, atom: Atom) -> int:
        """The last kernel that reads or writes a variable that kernels define."""
        consumers, last = self.consumers.get(atom), self.producers[atom][-1]
        return max(consumers[-1], last) if consumers else last

    def is_intermediate(self, atom: Atom) -> bool:
        """Whether a variable is neither an input nor an output."""
        return bool(self.producers.get(atom)) and atom not in self.outputs

    def bytes_of(self, atom: Atom) -> int:
        return self.target.bytes_of(atom.spec)

    def aligned_bytes(self, atom: Atom) -> int:
        return buffer_bytes(atom, self.target)

    def only_elementwise_loads(self, var: Var) -> bool:
        """Whether all consumers of a variable are loops that load all of it in order."""
        for k in (self.kernels[n] for n in self.consumers[var]):
            loop = generated_loop(k)
            if loop is None or isinstance(k, KernelCall) and var in k.args:
                return False
            views = [v.view for v in loop.values if isinstance(v, Load) and v.source is var]
            if not all(v.contiguous and prod(v.shape) == var.spec.count for v in views):
                return False
        return True

    def count_buffers(self, n: int, dropped: frozenset[Var] = frozenset(),
                      added: Iterable[Atom] = ()) -> int:
        """The number of buffers that kernel n binds, without some and with others."""
        k = self.kernels[n]
        atoms: set[Atom] = ({*k.reads, *k.writes} - dropped).union(added)
        return len(atoms) - sum(v in atoms and old in atoms for v, old in self.aliases.items()) \
            if self.aliases else len(atoms)
