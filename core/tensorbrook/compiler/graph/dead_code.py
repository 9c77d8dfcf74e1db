"""Dead code elimination: equations whose results reach no output."""
from ...ir import Graph
from ...ir.analysis import backward_slice, with_equations
from ..context import PassContext


def eliminate_dead_code(graph: Graph, context: PassContext) -> Graph:
    """Drop the equations that no output depends on."""
    return with_equations(graph, backward_slice(graph.eqns, graph.outputs))
