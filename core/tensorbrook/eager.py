"""The conductor of single operations: each is a program of one equation, compiled once."""

from __future__ import annotations

import os
from typing import Any

from . import backends
from .backends import Backend, Program, Storage
from .base.errors import UnimplementedError
from .base.host_array import HostArray
from .base.views import View
from .compiler import uses_float16
from .ir import Eqn, Graph, Primitive, TensorSpec, Var, as_tuple
from .ops import random
from .placement import CPU, WASM, PlacementPolicy, compile, plan_for, simplify_for
from .tensor import Tensor, Variable, constant_to_bytes, context, context_stack, leaked_tracer_error

__all__ = ["EAGER", "EagerContext", "compile", "init_scope", "plan_for", "simplify_for"]


class EagerContext(PlacementPolicy):
    """The bottom context: carries out what is bound at once, where it is placed."""

    # How many programs, and storages of numbers, are kept; a loop meets few different ones, and a
    # page that meets new shapes for hours must not fill its memory with them.
    MAX_CACHED_PROGRAMS = 4096
    MAX_CACHED_SCALARS = 1024

    @property
    def backend(self) -> Backend:
        """The one that computes what depends on nothing yet."""
        return self.chain.backend

    def bind(self, prim: Primitive, args: list[Tensor], attrs: dict[str, Any]) -> Any:
        way = self.chain
        if way.gpu is not None:
            way = way.chain_for(args)
        key = (prim.name, *[a.spec for a in args], *attrs.items())
        found = way.programs.get(key)
        if found is None:
            spec = prim.spec(*[a.spec for a in args], **attrs)
            if (
                prim.kind == "view"
                and (alias := self._alias(prim, args[0], spec, attrs)) is not None
            ):
                return alias
            graph = _single_op_graph(prim, args, attrs, spec)
            # What no CPU computes looks for a GPU, however small it is.
            able = self.select_chain(lambda threads: True, args) if uses_float16(graph) else way
            found = able.programs.get(key)
            if found is None:
                if len(able.programs) >= self.MAX_CACHED_PROGRAMS:
                    able.programs.clear()
                found = able.programs[key] = able.load(graph), spec
        program, spec = found
        backend = program.backend
        outs = program.run([self.storage_on(a, backend) for a in args])
        if isinstance(spec, tuple):
            return tuple(map(Tensor, spec, outs))
        return Tensor(spec, outs[0])

    def _alias(self, prim: Primitive, x: Tensor, spec: TensorSpec, attrs) -> Tensor | None:
        """A view whose elements lie as those of `x` shares its storage: nothing moves."""
        view = prim.view(View.of(x.spec.shape), **attrs)
        if view is None or not view.contiguous or spec.count != x.spec.count:
            return None
        storage = x.storage or self.storage_on(x)
        storage.aliased = True
        return Tensor(spec, storage)

    def read(self, variable: Variable) -> Tensor:
        variable.storage.aliased = True
        return Tensor(variable.spec, variable.storage)

    def assign(self, variable: Variable, value: Tensor) -> None:
        variable.storage = self.storage_on(value, self.chain.chain_for((variable,)).backend)
        variable.storage.aliased = True

    def storage_on(self, held: Tensor | Variable, backend: Backend | None = None) -> Storage:
        """Where a concrete tensor lies on that backend, else on the one where it belongs; put there
        if need be."""
        storage = held.storage
        if backend is None:
            backend = self.chain.chain_for((held,)).backend
        if storage is None:
            if held.symbolic:
                raise leaked_tracer_error(held)
            storage = held.storage = self._upload_constant(held, backend)
        elif storage.backend is not backend:
            storage = held.storage = self._transfer(held, backend)
        return storage

    def _transfer(self, held: Tensor | Variable, backend: Backend) -> Storage:
        """The elements of a concrete tensor on another backend."""
        if isinstance(held, Tensor) and held.atom is not None:
            return self._upload_constant(held, backend)         # still known, and nothing to wait for
        return self._upload(HostArray(held.storage.read(), held.spec.shape, held.spec.dtype), backend)

    def _upload_constant(self, tensor: Tensor, backend: Backend) -> Storage:
        const = tensor.atom
        if not const.is_number:
            data = HostArray(const.value, const.spec.shape, const.spec.dtype)
            return self._upload(data, backend)
        numbers, key = self.chain.numbers, (backend, const.spec.dtype.name, repr(const.value))
        if key not in numbers:
            if len(numbers) >= self.MAX_CACHED_SCALARS:
                numbers.clear()
            data = HostArray(constant_to_bytes(const), (), const.spec.dtype)
            numbers[key] = self._upload(data, backend)
            numbers[key].aliased = True
        return numbers[key]

    def _upload(self, data: HostArray, backend: Backend) -> Storage:
        try:
            return backend.upload(data)
        except UnimplementedError:
            if WASM not in self.chain.names[1:]:
                raise
            return backends.get_backend(WASM).upload(data)      # elements that this device has not


def _single_op_graph(prim: Primitive, args: list[Tensor], attrs, spec) -> Graph:
    inputs, outs = [Var(a.spec) for a in args], tuple(map(Var, as_tuple(spec)))
    return Graph(list(inputs), [Eqn(prim, tuple(inputs), attrs, outs)], list(outs))


def _load_on_fallback(graph: Graph, device: str) -> Program:
    return EAGER.failover_chain(device).load(graph)


def _on_device_lost() -> None:
    EAGER.push_device(CPU)                         # without asking for another device yet
    try:
        random.get_global_generator().reseed_if_lost()
    finally:
        EAGER.pop_device()


EAGER = EagerContext(os.environ.get("TENSORBROOK_BACKEND"))
context_stack().append(EAGER)
backends.load_on_fallback, backends.on_backend_lost = _load_on_fallback, _on_device_lost


def init_scope():
    """Within the block operations run at once, even while a tf.function is being traced."""
    return context(EAGER)
