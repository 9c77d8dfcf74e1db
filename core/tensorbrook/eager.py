"""The conductor of single operations: each is a program of one equation, compiled once."""

from __future__ import annotations

import os
from typing import Any

from . import backends
from .backends import Backend, Program, Storage
from .base.errors import UnimplementedError
from .base.hostdata import HostData
from .base.views import View
from .compiler import has_halves
from .ir import Eqn, Graph, Prim, Spec, Var, several
from .ops import random
from .placement import CPU, WASM, Placement, compile, planned, simplified
from .tensor import Tensor, Variable, constant_bytes, context, contexts, leaked

__all__ = ["EAGER", "Eager", "compile", "init_scope", "planned", "simplified"]


class Eager(Placement):
    """The bottom context: carries out what is bound at once, where it is placed."""

    # How many programs, and storages of numbers, are kept; a loop meets few different ones, and a
    # page that meets new shapes for hours must not fill its memory with them.
    PROGRAMS = 4096
    NUMBERS = 1024

    @property
    def backend(self) -> Backend:
        """The one that computes what depends on nothing yet."""
        return self.way.backend

    def bind(self, prim: Prim, args: list[Tensor], attrs: dict[str, Any]) -> Any:
        way = self.way
        if way.gpu is not None:
            way = way.toward(args)
        key = (prim.name, *[a.spec for a in args], *attrs.items())
        found = way.programs.get(key)
        if found is None:
            spec = prim.spec(*[a.spec for a in args], **attrs)
            if (
                prim.kind == "view"
                and (alias := self._alias(prim, args[0], spec, attrs)) is not None
            ):
                return alias
            graph = _one_equation(prim, args, attrs, spec)
            # What no CPU computes looks for a GPU, however small it is.
            able = self.place(lambda threads: True, args) if has_halves(graph) else way
            found = able.programs.get(key)
            if found is None:
                if len(able.programs) >= self.PROGRAMS:
                    able.programs.clear()
                found = able.programs[key] = able.load(graph), spec
        program, spec = found
        backend = program.backend
        outs = program.run([self.store(a, backend) for a in args])
        if isinstance(spec, tuple):
            return tuple(map(Tensor, spec, outs))
        return Tensor(spec, outs[0])

    def _alias(self, prim: Prim, x: Tensor, spec: Spec, attrs) -> Tensor | None:
        """A view whose elements lie as those of `x` shares its storage: nothing moves."""
        view = prim.view(View.of(x.spec.shape), **attrs)
        if view is None or not view.contiguous or spec.count != x.spec.count:
            return None
        storage = x.storage or self.store(x)
        storage.shared = True
        return Tensor(spec, storage)

    def read(self, variable: Variable) -> Tensor:
        variable.storage.shared = True
        return Tensor(variable.spec, variable.storage)

    def assign(self, variable: Variable, value: Tensor) -> None:
        variable.storage = self.store(value, self.way.toward((variable,)).backend)
        variable.storage.shared = True

    def store(self, held: Tensor | Variable, backend: Backend | None = None) -> Storage:
        """Where a concrete tensor lies on that backend, else on the one where it belongs; put there
        if need be."""
        storage = held.storage
        if backend is None:
            backend = self.way.toward((held,)).backend
        if storage is None:
            if held.symbolic:
                raise leaked(held)
            storage = held.storage = self._put_constant(held, backend)
        elif storage.backend is not backend:
            storage = held.storage = self._moved(held, backend)
        return storage

    def _moved(self, held: Tensor | Variable, backend: Backend) -> Storage:
        """The elements of a concrete tensor on another backend."""
        if isinstance(held, Tensor) and held.atom is not None:
            return self._put_constant(held, backend)         # still known, and nothing to wait for
        return self._put(HostData(held.storage.read(), held.spec.shape, held.spec.dtype), backend)

    def _put_constant(self, tensor: Tensor, backend: Backend) -> Storage:
        const = tensor.atom
        if not const.is_number:
            data = HostData(const.value, const.spec.shape, const.spec.dtype)
            return self._put(data, backend)
        numbers, key = self.way.numbers, (backend, const.spec.dtype.name, repr(const.value))
        if key not in numbers:
            if len(numbers) >= self.NUMBERS:
                numbers.clear()
            data = HostData(constant_bytes(const), (), const.spec.dtype)
            numbers[key] = self._put(data, backend)
            numbers[key].shared = True
        return numbers[key]

    def _put(self, data: HostData, backend: Backend) -> Storage:
        try:
            return backend.put(data)
        except UnimplementedError:
            if WASM not in self.way.names[1:]:
                raise
            return backends.backend(WASM).put(data)      # elements that this device has not


def _one_equation(prim: Prim, args: list[Tensor], attrs, spec) -> Graph:
    inputs, outs = [Var(a.spec) for a in args], tuple(map(Var, several(spec)))
    return Graph(list(inputs), [Eqn(prim, tuple(inputs), attrs, outs)], list(outs))


def _elsewhere(graph: Graph, device: str) -> Program:
    return EAGER.way_on(device).load(graph)


def _gone() -> None:
    EAGER.enter(CPU)                         # without asking for another device yet
    try:
        random.get_global_generator().follow_lost()
    finally:
        EAGER.leave()


EAGER = Eager(os.environ.get("TENSORBROOK_BACKEND"))
contexts().append(EAGER)
backends.elsewhere, backends.gone = _elsewhere, _gone


def init_scope():
    """Within the block operations run at once, even while a tf.function is being traced."""
    return context(EAGER)
