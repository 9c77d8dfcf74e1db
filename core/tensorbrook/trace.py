"""Tracing: records bound primitives as the equations of a graph, and inlines a graph again."""
from __future__ import annotations

from typing import Any

from .ir import Const, Eqn, Graph, Primitive, TensorSpec, Var, as_tuple
from .tensor import Tensor, Variable, bind_tensors, context_stack, leaked_tracer_error


class Trace:
    """A context that records primitives as equations; tensors from outside become inputs."""

    def __init__(self):
        self.graph = Graph([])
        self.captured: list[Tensor | Variable] = []       # the graph's inputs after the arguments
        self._captured_inputs: dict[int, Var] = {}        # id of a captured tensor -> its input
        self._current_values: dict[Variable, Tensor] = {}
        self.assigned_variables: dict[Variable, Tensor] = {}
        self.device: str | None = None                    # set by a `tf.device` block: CPU or GPU

    def placeholder(self, spec: TensorSpec) -> Tensor:
        var = Var(spec)
        self.graph.inputs.append(var)
        return Tensor(spec, atom=var, trace=self)

    def bind(self, prim: Primitive, args: list[Tensor], attrs: dict[str, Any]) -> Any:
        spec = prim.spec(*[a.spec for a in args], **attrs)
        outs = tuple(map(Var, as_tuple(spec)))
        self.graph.eqns.append(Eqn(prim, tuple(map(self.atom, args)), attrs, outs))
        tensors = tuple(Tensor(var.spec, atom=var, trace=self) for var in outs)
        return tensors if isinstance(spec, tuple) else tensors[0]

    def atom(self, tensor: Tensor) -> Var | Const:
        """The variable or constant for a tensor in this graph; captures the tensor if necessary."""
        if tensor.trace is self or tensor.storage is None and not tensor.symbolic:
            return tensor.atom
        if tensor.symbolic:
            raise leaked_tracer_error(tensor)
        return self._captured_input(tensor)

    def _captured_input(self, tensor: Tensor) -> Var:
        if id(tensor) not in self._captured_inputs:
            self._captured_inputs[id(tensor)] = self._capture(tensor)
        return self._captured_inputs[id(tensor)]

    def _capture(self, x: Tensor | Variable) -> Var:
        self.captured.append(x)
        return self.placeholder(x.spec).atom

    def read(self, variable: Variable) -> Tensor:
        if variable not in self._current_values:
            self._current_values[variable] = Tensor(
                variable.spec, atom=self._capture(variable), trace=self
            )
        # A new Tensor for each read: a tape distinguishes reads before and after an assignment by
        # the identity of the Tensor.
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
        """Set the graph's outputs: `outputs`, then the new values of the assigned Variables."""
        self.graph.outputs = [self.atom(o) for o in outputs] + [
            v.atom for v in self.assigned_variables.values()
        ]
        first = len(self.graph.inputs) - len(self.captured)
        index = {id(x): n for n, x in enumerate(self.captured)}
        for i, variable in enumerate(self.assigned_variables):
            self.graph.input_output_aliases[len(outputs) + i] = first + index[id(variable)]
        return self.graph


class SubgraphTrace(Trace):
    """A trace of a subgraph, such as a scan body. It captures every tensor from outside except
    scalar constants, including symbolic tensors of an enclosing trace."""

    def atom(self, tensor: Tensor) -> Var | Const:
        if tensor.trace is self or isinstance(tensor.atom, Const) and tensor.atom.is_scalar:
            return tensor.atom
        return self._captured_input(tensor)


def inline_graph(graph: Graph, inputs: list[Tensor]) -> list[Tensor]:
    """Bind the equations of a graph to `inputs` in the current context; returns the outputs."""
    from_atom: dict = dict(zip(graph.inputs, inputs))

    def tensor(atom):
        return Tensor(atom.spec, atom=atom) if isinstance(atom, Const) else from_atom[atom]

    for e in graph.eqns:
        outs = bind_tensors(e.prim, [tensor(a) for a in e.args], e.attrs)
        from_atom.update(zip(e.outs, as_tuple(outs)))
    return [tensor(o) for o in graph.outputs]
