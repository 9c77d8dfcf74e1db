"""Common subexpression elimination of scans: scans over the same operands share one body."""
from ...ir import Atom, Eqn, Graph, Subgraph
from ...ir.analysis import Replacements, defined_variables, with_operands
from ...base.value_keys import attributes_key
from ..context import PassContext


def merge_identical_scans(graph: Graph, context: PassContext) -> Graph:
    """Merge scans with the same operands and body equations into one with the results of all.

    A forward pass and the scan that saves residuals for its gradient are such a pair.
    """
    if not any(e.prim.kind == "scan" for e in graph.eqns):
        return graph
    position: dict[tuple, int] = {}              # where the merged scan of a key is in `merged`
    merged: list[Eqn] = []
    renamed: Replacements = {}
    for e in graph.eqns:
        e = with_operands(e, renamed)
        if e.prim.kind == "scan":
            key = _key(e)
            if key in position:
                merged[position[key]] = _merge_results(merged[position[key]], e, renamed)
                continue
            position[key] = len(merged)
        merged.append(e)
    outputs = [renamed.get(o, o) for o in graph.outputs]
    return Graph(graph.inputs, merged, outputs, graph.input_output_aliases)


def _key(e: Eqn) -> tuple:
    graph, carries = e.attrs["body"].graph, e.attrs["carries"]
    index = {v: i for i, v in enumerate(defined_variables(graph))}
    carried = tuple(index.get(o, repr(o)) for o in graph.outputs[:carries])
    attrs = attributes_key({name: value for name, value in e.attrs.items() if name != "body"})
    return e.args, e.attrs["body"].equations_digest, carried, attrs


def _merge_results(first: Eqn, second: Eqn, renamed: dict) -> Eqn:
    """`first` with the additional results of `second`; `renamed` maps the results of `second`."""
    graph, other = first.attrs["body"].graph, second.attrs["body"].graph
    same: dict[Atom, Atom] = dict(zip(defined_variables(other), defined_variables(graph)))
    carries = first.attrs["carries"]
    renamed.update(zip(second.outs[:carries], first.outs))
    outputs, outs = list(graph.outputs), list(first.outs)
    position = {o: i for i, o in enumerate(outputs) if i >= carries}
    for o, var in zip(other.outputs[carries:], second.outs[carries:]):
        o = same.get(o, o)
        if o in position:
            renamed[var] = outs[position[o]]
        else:
            position[o] = len(outputs)
            outputs.append(o)
            outs.append(var)
    body = Subgraph(Graph(graph.inputs, graph.eqns, outputs))
    return Eqn(first.prim, first.args, first.attrs | {"body": body}, tuple(outs))
