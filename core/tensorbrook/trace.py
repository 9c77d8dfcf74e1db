"""Tracing: what is bound is written down as a graph, and a graph is bound again."""
from __future__ import annotations

from typing import Any

from .ir import Const, Eqn, Graph, Primitive, TensorSpec, Var, as_tuple
from .tensor import Tensor, Variable, bind_tensors, context_stack, leaked_tracer_error


class Trace:
    """The context that writes down what is bound. What it meets from outside becomes an input."""

    def __init__(self):
        self.graph = Graph([])
        self.captured: list[Tensor | Variable] = []       # the graph's inputs after the arguments
        self._tensors: dict[int, Var] = {}                # id of a captured tensor -> its input
        self._current_values: dict[Variable, Tensor] = {}         # what each Variable holds at this point
        self.assigned_variables: dict[Variable, Tensor] = {}
        self.device: str | None = None                    # CPU or GPU, where a `with` asks for one

    def placeholder(self, spec: TensorSpec) -> Tensor:
        var = Var(spec)
        self.graph.inputs.append(var)
        return Tensor(spec, atom=var, trace=self)

    def bind(self, prim: Primitive, args: list[Tensor], attrs: dict[str, Any]) -> Any:
        spec = prim.spec(*[a.spec for a in args], **attrs)
        outs = tuple(map(Var, as_tuple(spec)))
        self.graph.eqns.append(Eqn(prim, tuple(map(self.atom, args)), attrs, outs))
        made = tuple(Tensor(var.spec, atom=var, trace=self) for var in outs)
        return made if isinstance(spec, tuple) else made[0]

    def atom(self, tensor: Tensor) -> Var | Const:
        """The variable or constant that stands for a tensor here."""
        if tensor.trace is self or tensor.storage is None and not tensor.symbolic:
            return tensor.atom
        if tensor.symbolic:
            raise leaked_tracer_error(tensor)
        if id(tensor) not in self._tensors:
            self._tensors[id(tensor)] = self._capture(tensor)
        return self._tensors[id(tensor)]

    def _capture(self, held: Tensor | Variable) -> Var:
        self.captured.append(held)
        return self.placeholder(held.spec).atom

    def read(self, variable: Variable) -> Tensor:
        if variable not in self._current_values:
            self._current_values[variable] = Tensor(variable.spec, atom=self._capture(variable), trace=self)
        # A new handle each time: a tape tells the reads before an assignment from those after.
        value = self._current_values[variable]
        return Tensor(value.spec, atom=value.atom, trace=self)

    def assign(self, variable: Variable, value: Tensor) -> None:
        self.read(variable)
        self._current_values[variable] = self.assigned_variables[variable] = Tensor(
            value.spec, atom=self.atom(value), trace=self
        )

    def storage_on(self, tensor: Tensor):
        return context_stack()[0].storage_on(tensor)

    def build_graph(self, outputs: list[Tensor]) -> Graph:
        """The graph with those outputs, then the new values of Variables that were assigned to."""
        self.graph.outputs = [self.atom(o) for o in outputs] + [
            v.atom for v in self.assigned_variables.values()
        ]
        first = len(self.graph.inputs) - len(self.captured)
        for i, variable in enumerate(self.assigned_variables):
            at = next(n for n, held in enumerate(self.captured) if held is variable)
            self.graph.input_output_aliases[len(outputs) + i] = first + at
        return self.graph


class SubgraphTrace(Trace):
    """Writes down the body of a loop, within another trace or not: whatever it meets from outside,
    numbers aside, becomes an input."""

    def atom(self, tensor: Tensor) -> Var | Const:
        if tensor.trace is self or isinstance(tensor.atom, Const) and tensor.atom.is_number:
            return tensor.atom
        if id(tensor) not in self._tensors:
            self._tensors[id(tensor)] = self._capture(tensor)
        return self._tensors[id(tensor)]


def inline_graph(graph: Graph, inputs: list[Tensor]) -> list[Tensor]:
    """Send a graph's equations through bind again, from other inputs; returns its outputs."""
    from_atom: dict = dict(zip(graph.inputs, inputs))

    def tensor(atom):
        return Tensor(atom.spec, atom=atom) if isinstance(atom, Const) else from_atom[atom]

    for e in graph.eqns:
        outs = bind_tensors(e.prim, [tensor(a) for a in e.args], e.attrs)
        from_atom.update(zip(e.outs, as_tuple(outs)))
    return [tensor(o) for o in graph.outputs]
