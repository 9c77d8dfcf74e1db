"""The reference backend: interprets each equation with its NumPy reference implementation."""

import threading

import numpy as np

from ...base.host_array import HostArray
from ...ir import Graph, Plan, TargetInfo, interpret


class Array:
    """A NumPy array as a Storage."""

    __slots__ = ("value", "aliased", "backend")

    def __init__(self, value: np.ndarray, backend: "Reference"):
        self.value, self.aliased, self.backend = value, False, backend

    def read(self) -> bytes:
        return self.value.tobytes()


class Reference:
    name, device = "reference", "CPU"
    is_lost = False
    target = TargetInfo(float16_kernels=frozenset())
    threads = 1

    def __init__(self):
        self.programs_run = self.equations_run = self.loaded = 0
        self.lock = threading.RLock()

    def upload(self, data: HostArray) -> Array:
        value = np.frombuffer(bytes(data.data), data.dtype.name).reshape(data.shape)
        return Array(value, self)

    def read_many(self, storages) -> list[bytes]:
        return [storage.read() for storage in storages]

    def load(self, plan: Plan) -> "Program":
        self.loaded += 1
        return Program(plan.graph, self)

    def load_cached(self, graph: Graph) -> None:
        """Return None: this backend has no program cache."""

    def counters(self) -> dict[str, int]:
        return {"host_calls": 0, "programs": self.programs_run, "kernels": self.equations_run,
                "compiled": self.loaded}

    def device_details(self) -> dict:
        return {}


class Program:
    """Runs a graph's equations one by one."""

    dispatches = None

    def __init__(self, graph: Graph, backend: Reference):
        self.graph, self.backend = graph, backend

    def run(self, inputs) -> list[Array]:
        graph = self.graph
        self.backend.programs_run += 1
        self.backend.equations_run += len(graph.eqns)
        # A reshape without data movement shares its storage, whose array has the original shape.
        values = [storage.value.reshape(v.spec.shape)
                  for v, storage in zip(graph.inputs, inputs)]
        with np.errstate(all="ignore"):
            outs = interpret(np, graph, values)
        return [Array(out, self.backend) for out in outs]


def create() -> Reference:
    return Reference()
