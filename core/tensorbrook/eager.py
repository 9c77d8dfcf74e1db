"""The conductor of single operations: each is a program of one equation, compiled once."""

from __future__ import annotations

import os

from typing import Any

from . import backends
from .backends import Backend, Program, Storage
from .base.hostdata import HostData
from .base.views import View
from .compiler import fuse, plan, simplify, widened
from .ir import Eqn, Graph, Plan, Prim, Spec, Var, several
from .tensor import Tensor, Variable, constant_bytes, context, contexts, leaked


def compile(graph: Graph, on: Backend) -> Program:
    """A graph as a program: one that the backend has kept, or else through every stage."""
    graph = simplified(graph, on)
    return on.recall(graph) or on.load(planned(graph, on))


def simplified(graph: Graph, on: Backend) -> Graph:
    """The smallest graph that means the same to a backend."""
    return simplify(widened(graph, on.limits))


def planned(graph: Graph, on: Backend) -> Plan:
    """The plan of a simplified graph."""
    kernels, outputs = fuse(graph, on.limits)
    return plan(graph, kernels, outputs, on.limits)


class Eager:
    """The bottom context: carries out what is bound at once, on the backend that was chosen."""

    # How many programs, and storages of numbers, are kept; a loop meets few different ones, and a
    # page that meets new shapes for hours must not fill its memory with them.
    PROGRAMS = 4096
    NUMBERS = 1024

    def __init__(self, backend_name: str):
        self.backend_name = backend_name
        self._backend: Backend | None = None
        self._programs: dict[Any, tuple[Program, Spec | tuple[Spec, ...]]] = {}
        self._numbers: dict[Any, Storage] = {}
        self._kept = {backend_name: (self._programs, self._numbers)}

    @property
    def backend(self) -> Backend:
        if self._backend is None:
            self._backend = backends.backend(self.backend_name)
        return self._backend

    def choose(self, name: str) -> None:
        """Carry out on another backend from now on."""
        self._backend, self.backend_name = backends.backend(name), name
        self._programs, self._numbers = self._kept.setdefault(name, ({}, {}))

    def bind(self, prim: Prim, args: list[Tensor], attrs: dict[str, Any]) -> Any:
        key = (prim.name, *[a.spec for a in args], *attrs.items())
        found = self._programs.get(key)
        if found is None:
            spec = prim.spec(*[a.spec for a in args], **attrs)
            if (
                prim.kind == "view"
                and (alias := self._alias(prim, args[0], spec, attrs)) is not None
            ):
                return alias
            if len(self._programs) >= self.PROGRAMS:
                self._programs.clear()
            found = self._programs[key] = (
                compile(_one_equation(prim, args, attrs, spec), self.backend),
                spec,
            )
        program, spec = found
        outs = program.run([self.store(a) for a in args])
        if isinstance(spec, tuple):
            return tuple(map(Tensor, spec, outs))
        return Tensor(spec, outs[0])

    def _alias(self, prim: Prim, x: Tensor, spec: Spec, attrs) -> Tensor | None:
        """A view whose elements lie as those of `x` shares its storage: nothing moves."""
        view = prim.view(View.of(x.spec.shape), **attrs)
        if view is None or not view.contiguous or spec.count != x.spec.count:
            return None
        storage = self.store(x)
        storage.shared = True
        return Tensor(spec, storage)

    def read(self, variable: Variable) -> Tensor:
        variable.storage.shared = True
        return Tensor(variable.spec, variable.storage)

    def assign(self, variable: Variable, value: Tensor) -> None:
        variable.storage = self.store(value)
        variable.storage.shared = True

    def store(self, tensor: Tensor) -> Storage:
        """Where a concrete tensor lies on the chosen backend; put there if need be."""
        storage = tensor.storage
        if storage is None:
            if tensor.symbolic:
                raise leaked(tensor)
            storage = tensor.storage = self._put_constant(tensor)
        if storage.backend is not self.backend:
            data = HostData(storage.read(), tensor.spec.shape, tensor.spec.dtype)
            storage = tensor.storage = self.backend.put(data)
        return storage

    def _put_constant(self, tensor: Tensor) -> Storage:
        const = tensor.atom
        if not const.is_number:
            return self.backend.put(HostData(const.value, const.spec.shape, const.spec.dtype))
        key = const.spec.dtype.name, repr(const.value)
        if key not in self._numbers:
            if len(self._numbers) >= self.NUMBERS:
                self._numbers.clear()
            storage = self.backend.put(HostData(constant_bytes(const), (), const.spec.dtype))
            storage.shared = True
            self._numbers[key] = storage
        return self._numbers[key]


def _one_equation(prim: Prim, args: list[Tensor], attrs, spec) -> Graph:
    inputs, outs = [Var(a.spec) for a in args], tuple(map(Var, several(spec)))
    return Graph(list(inputs), [Eqn(prim, tuple(inputs), attrs, outs)], list(outs))


EAGER = Eager(os.environ.get("TENSORBROOK_BACKEND", "wasm"))
contexts().append(EAGER)


def init_scope():
    """Within the block operations run at once, even while a tf.function is being traced."""
    return context(EAGER)
