"""The slow backend that defines the fast ones: each equation as its primitive means it."""

import numpy as np

from ...base.hostdata import HostData
from ...ir import Atom, Const, Graph, Limits, Plan, several


class Array:
    """A NumPy array as a Storage."""

    __slots__ = ("value", "shared", "backend")

    def __init__(self, value: np.ndarray, backend: "Reference"):
        self.value, self.shared, self.backend = value, False, backend

    def read(self) -> bytes:
        return self.value.tobytes()


class Reference:
    name = "reference"
    limits = Limits()
    threads = 1

    def __init__(self):
        self.programs_run = self.equations_run = self.loaded = 0

    def put(self, data: HostData) -> Array:
        value = np.frombuffer(bytes(data.data), data.dtype.name).reshape(data.shape)
        return Array(value, self)

    def load(self, plan: Plan) -> "Program":
        self.loaded += 1
        return Program(plan.graph, self)

    def recall(self, graph: Graph) -> None:
        """None: it keeps no programs."""

    def counters(self) -> dict[str, int]:
        return {"host_calls": 0, "programs": self.programs_run, "kernels": self.equations_run,
                "compiled": self.loaded}


class Program:
    """Runs a graph's equations one by one."""

    def __init__(self, graph: Graph, backend: Reference):
        self.graph, self.backend = graph, backend

    def run(self, inputs) -> list[Array]:
        graph = self.graph
        self.backend.programs_run += 1
        self.backend.equations_run += len(graph.eqns)
        # A view that moves nothing shares its storage, which keeps the shape it was made with.
        values = {
            v: storage.value.reshape(v.spec.shape) for v, storage in zip(graph.inputs, inputs)
        }
        with np.errstate(all="ignore"):
            for e in graph.eqns:
                args = [self._value(a, values) for a in e.args]
                outs = several(e.prim.meaning(np, *args, **e.attrs))
                for var, out in zip(e.outs, outs, strict=True):
                    # A tensor of one number throughout may have come as that number.
                    out = np.broadcast_to(out, var.spec.shape)
                    values[var] = np.ascontiguousarray(out, var.spec.dtype.name).reshape(out.shape)
        return [Array(self._value(o, values), self.backend) for o in graph.outputs]

    @staticmethod
    def _value(atom: Atom, values) -> np.ndarray:
        if not isinstance(atom, Const):
            return values[atom]
        if atom.is_number:
            return np.asarray(atom.value, atom.spec.dtype.name)
        return np.frombuffer(atom.value, atom.spec.dtype.name).reshape(atom.spec.shape)


def create() -> Reference:
    return Reference()
