"""Eager execution: each operation is a program of one equation, compiled once and cached."""

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
from .base.value_keys import attributes_key
from .ops import random
from .placement import CPU, WASM, PlacementPolicy, compile, plan_for, simplify_for
from .tensor import Tensor, Variable, constant_to_bytes, context, context_stack, leaked_tracer_error

__all__ = ["EAGER", "EagerContext", "compile", "init_scope", "plan_for", "simplify_for"]


class EagerContext(PlacementPolicy):
    """The bottom of the context stack: runs each primitive immediately, where it is placed."""

    @property
    def backend(self) -> Backend:
        """The backend of operations without operands."""
        return self.chain.backend

    def bind(self, prim: Primitive, args: list[Tensor], attrs: dict[str, Any]) -> Any:
        chain = self.chain
        if chain.gpu is not None:
            chain = chain.chain_for(args)
        key = (prim.name, *[a.spec for a in args])
        if attrs:
            key += attributes_key(attrs)
        cached = chain.programs.get(key)
        if cached is None:
            spec = prim.spec(*[a.spec for a in args], **attrs)
            if (
                prim.kind == "view"
                and (alias := self._alias(prim, args[0], spec, attrs)) is not None
            ):
                return alias
            graph = _single_op_graph(prim, args, attrs, spec)
            # Backend wasm has no float16, so even a small operation with float16 selects a GPU.
            if uses_float16(graph):
                chain = self.select_chain(lambda threads: True, args)
            cached = chain.programs.get(key)
            if cached is None:
                cached = chain.programs.put(key, (chain.load(graph), spec))
        program, spec = cached
        backend = program.backend
        outs = program.run([self.storage_on(a, backend) for a in args])
        if isinstance(spec, tuple):
            return tuple(map(Tensor, spec, outs))
        return Tensor(spec, outs[0])

    def _alias(self, prim: Primitive, x: Tensor, spec: TensorSpec, attrs) -> Tensor | None:
        """A contiguous view as a Tensor that shares the storage of `x`; None for other views."""
        view = prim.view(View.of(x.spec.shape), **attrs)
        if view is None or not view.contiguous or spec.count != x.spec.count:
            return None
        storage = x.storage or self.storage_on(x)
        storage.aliased = True
        return Tensor(spec, storage)

    def read(self, variable: Variable) -> Tensor:
        with variable.storage.backend.lock:      # a program may be updating the storage
            storage = variable.storage
            storage.aliased = True
        return Tensor(variable.spec, storage)

    def assign(self, variable: Variable, value: Tensor) -> None:
        variable.storage = self.storage_on(value, self.chain.chain_for((variable,)).backend)
        variable.storage.aliased = True

    def storage_on(self, x: Tensor | Variable, backend: Backend | None = None) -> Storage:
        """The storage of a concrete tensor on a backend, by default on the backend of placement.

        A tensor on another backend is transferred, and a constant is uploaded.
        """
        storage = x.storage
        if backend is None:
            backend = self.chain.chain_for((x,)).backend
        if storage is None:
            if x.symbolic:
                raise leaked_tracer_error(x)
            storage = x.storage = self._upload_constant(x, backend)
        elif storage.backend is not backend:
            storage = x.storage = self._transfer(x, backend)
        return storage

    def _transfer(self, x: Tensor | Variable, backend: Backend) -> Storage:
        """Copy the elements of a concrete tensor to another backend."""
        if isinstance(x, Tensor) and x.atom is not None:
            return self._upload_constant(x, backend)            # needs no readback
        return self._upload(HostArray(x.storage.read(), x.spec.shape, x.spec.dtype), backend)

    def _upload_constant(self, tensor: Tensor, backend: Backend) -> Storage:
        const = tensor.atom
        if not const.is_scalar:
            data = HostArray(const.value, const.spec.shape, const.spec.dtype)
            return self._upload(data, backend)
        scalars, key = self.chain.scalars, (backend, const.spec.dtype.name, repr(const.value))
        if (storage := scalars.get(key)) is None:
            data = HostArray(constant_to_bytes(const), (), const.spec.dtype)
            storage = scalars.put(key, self._upload(data, backend))
            storage.aliased = True
        return storage

    def _upload(self, data: HostArray, backend: Backend) -> Storage:
        try:
            return backend.upload(data)
        except UnimplementedError:                # the device does not support the dtype
            if WASM not in self.chain.names[1:]:
                raise
            return backends.get_backend(WASM).upload(data)


def _single_op_graph(prim: Primitive, args: list[Tensor], attrs, spec) -> Graph:
    inputs, outs = [Var(a.spec) for a in args], tuple(map(Var, as_tuple(spec)))
    return Graph(list(inputs), [Eqn(prim, tuple(inputs), attrs, outs)], list(outs))


def _load_on_fallback(graph: Graph, device: str) -> Program:
    return EAGER.failover_chain(device).load(graph)


def _on_device_lost() -> None:
    EAGER.push_device(CPU)                         # so that reseeding does not select a GPU
    try:
        random.get_global_generator().reseed_if_lost()
    finally:
        EAGER.pop_device()


EAGER = EagerContext(os.environ.get("TENSORBROOK_BACKEND"))
context_stack().append(EAGER)
backends.load_on_fallback, backends.on_backend_lost = _load_on_fallback, _on_device_lost


def init_scope():
    """A context manager that runs operations eagerly, even while a tf.function is being traced."""
    return context(EAGER)
