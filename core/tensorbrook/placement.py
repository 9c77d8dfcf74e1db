"""Device placement: the backends that may run a program, and the choice between CPU and GPU."""
from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from . import backends
from .backends import Backend, Program
from .base.errors import (
    InternalError, OpError, ResourceExhaustedError, UnavailableError, UnimplementedError)
from .base.garbage import collection_paused
from .base.lru_cache import LRUCache
from .base.task_local import register_stack
from .compiler import lower, optimize
from .ir import Graph, Plan, TargetInfo
from .tensor import Variable

CPU, GPU = "CPU", "GPU"
WASM, WEBGPU, REFERENCE = "wasm", "webgpu", "reference"
BACKEND_FOR_DEVICE = {CPU: WASM, GPU: WEBGPU}
# Bounds on the caches of a chain: a loop uses few programs, but a page that runs for hours with
# ever new shapes must not exhaust its memory.
MAX_CACHED_PROGRAMS = 4096
MAX_CACHED_SCALARS = 1024


def compile(graph: Graph, backend: Backend) -> Program:
    """Compile a graph, or load the program from the backend's program cache."""
    with collection_paused():
        graph = simplify_for(graph, backend)
        return backend.load_cached(graph) or backend.load(plan_for(graph, backend))


def simplify_for(graph: Graph, backend: Backend) -> Graph:
    """Run the graph passes: legalization for the backend and simplification."""
    return optimized(graph, backend.target)


# The graph that was optimized last: choosing a device for a program and compiling it need the same
# optimized graph, one right after the other.
_last_optimized: tuple[Any, tuple, Graph] | None = None


def optimized(graph: Graph, target: TargetInfo) -> Graph:
    """Optimize a graph for a target, or return the result of the last call if it was the same."""
    global _last_optimized
    last, key = _last_optimized, target.graph_key
    if last is not None and last[0]() is graph and last[1] == key:
        return last[2]
    result = optimize(graph, target)
    _last_optimized = weakref.ref(graph), key, result
    return result


def plan_for(graph: Graph, backend: Backend) -> Plan:
    """Run the kernel passes on an optimized graph."""
    return lower(graph, backend.target)


class BackendChain:
    """A fallback chain: the first of the named backends that can compile a program runs it.

    The chain also caches the programs of eager operations and the storages of scalar constants.
    """

    gpu: BackendChain | None = None           # set only by AutomaticChain

    def __init__(self, *names: str):
        self.names = names
        self.loaded_backends: set[Backend] = set()
        self.programs = LRUCache(MAX_CACHED_PROGRAMS)    # key -> (Program, results' specs)
        self.scalars = LRUCache(MAX_CACHED_SCALARS)      # key -> Storage
        self.warned_about_reference = False

    @cached_property
    def backend(self) -> Backend:
        """The first backend of the chain."""
        return self._backend(self.names[0])

    def _backend(self, name: str) -> Backend:
        backend = backends.get_backend(name)
        self.loaded_backends.add(backend)
        return backend

    @property
    def stale(self) -> bool:
        """Whether one of its loaded backends is lost or was replaced."""
        return any(backends.existing_backend(b.name) is not b for b in self.loaded_backends)

    def load(self, graph: Graph) -> Program:
        """Compile a graph on the first backend that supports it."""
        failure: OpError | None = None
        for name in self.names:
            try:
                program = compile(graph, self._backend(name))
            except (UnimplementedError, ResourceExhaustedError, InternalError) as error:
                if name != WEBGPU and isinstance(error, ResourceExhaustedError):
                    raise                    # no other backend has more memory than the CPU
                failure = error
            except ModuleNotFoundError:
                break                        # backend reference needs NumPy, which a page may lack
            else:
                if isinstance(failure, InternalError):
                    warnings.warn(f"{failure.op}: {failure.problem}; falling back to backend "
                                  f"{name}; please report this", RuntimeWarning, stacklevel=3)
                elif isinstance(failure, UnimplementedError) and name == REFERENCE:
                    self._warn_about_reference(failure)
                return program
        assert failure is not None, f"{self.names} names no backend"
        raise failure

    def chain_for(self, operands: Iterable[Any]) -> BackendChain:
        """The chain for a small program with these tensors and Variables as operands."""
        return self

    def _warn_about_reference(self, failure: UnimplementedError) -> None:
        if not self.warned_about_reference:
            self.warned_about_reference = True
            warnings.warn(
                f"{failure.op}: {failure.problem}; falling back to backend reference, which is "
                f"slow; {failure.hint}; tf.config.set_soft_device_placement(False) makes this an "
                "error", RuntimeWarning, stacklevel=4)


class AutomaticChain(BackendChain):
    """The chain for automatic placement: `cpu` or `gpu`, depending on the operands.

    `gpu` is None until a program that is large enough for a GPU has found one.
    """

    def __init__(self, cpu: BackendChain, gpu: BackendChain | None):
        self.names, self.loaded_backends = cpu.names, cpu.loaded_backends
        self.programs, self.scalars = cpu.programs, cpu.scalars
        self.cpu, self.gpu = cpu, gpu

    def load(self, graph: Graph) -> Program:
        return self.cpu.load(graph)

    def chain_for(self, operands: Iterable[Any]) -> BackendChain:
        """The device that holds most bytes of the Variables, or of the tensors if there are none.

        Variables take precedence: a tensor is transferred once, but the next training step would
        transfer a Variable back.
        """
        if self.gpu is None:
            return self.cpu
        tensor_bytes = variable_bytes = 0           # on the GPU minus on the CPU
        for operand in operands:
            if operand.storage is not None:
                size = operand.spec.size_bytes
                size = size if operand.storage.backend is self.gpu.backend else -size
                if isinstance(operand, Variable):
                    variable_bytes += size
                else:
                    tensor_bytes += size
        return self.gpu if (variable_bytes or tensor_bytes) > 0 else self.cpu


class PlacementPolicy:
    """The user's settings, and the current chain, which results from them.

    In order of precedence: the device of the innermost `tf.device` block, the backend that
    `set_backend` forces, and automatic choice.
    """

    def __init__(self, backend_name: str | None):
        self.forced_backend = backend_name           # exclusively, without fallback
        # The devices of the open `tf.device` blocks, innermost last; None requests no device.
        self._blocks: list[str | None] = register_stack([], on_change=self.refresh)
        self.soft_placement = True                   # whether to fall back to another device
        self.gpu_hidden = False                      # by set_visible_devices
        self.gpu_missing_reason = ""                 # "" if a GPU exists or was not searched for
        self._chains: dict[tuple[str, ...], BackendChain] = {}
        self._automatic: AutomaticChain | None = None
        # False: there is no GPU, or only a software adapter. None: not determined yet.
        self._gpu_is_hardware: bool | None = None
        self.refresh()

    @property
    def requested_device(self) -> str | None:
        """The device of the innermost `tf.device` block, or None."""
        return self._blocks[-1] if self._blocks else None

    def push_device(self, device: str | None) -> None:
        """Enter a `tf.device` block."""
        self._blocks.append(device)
        try:
            self.refresh()
        except BaseException:
            self._blocks.pop()
            raise

    def pop_device(self) -> None:
        """Leave the innermost block; does nothing if an interrupt has already left all blocks."""
        del self._blocks[-1:]
        self.refresh()

    def refresh(self) -> None:
        """Recompute `self.chain` from the settings; callers cache choices until it changes."""
        if self.requested_device is not None:
            self.chain = self.chain_for_device(self.requested_device)
        elif self.forced_backend is not None:
            self.chain = self._cached_chain(self.forced_backend)
        else:
            self.chain = self._automatic_chain()

    def hide_gpu(self, hidden: bool) -> None:
        """Hide the GPU from programs, or show it; every function is placed again."""
        self.gpu_hidden, self._automatic = hidden, None
        self.refresh()

    def _automatic_chain(self) -> AutomaticChain:
        """The automatic chain. It is reused if unchanged, so that cached choices stay valid."""
        use_gpu = self._gpu_is_hardware and not self.gpu_hidden
        cpu, gpu = self.chain_for_device(CPU), self.chain_for_device(GPU) if use_gpu else None
        chain = self._automatic
        if chain is None or chain.cpu is not cpu or chain.gpu is not gpu:
            chain = self._automatic = AutomaticChain(cpu, gpu)
        return chain

    def force_backend(self, name: str | None) -> None:
        """Use this backend exclusively; None restores the automatic choice."""
        if name is not None:
            backends.get_backend(name)           # raises if it is not available
        if name == WEBGPU:
            self.gpu_missing_reason = ""
        self.forced_backend = name
        self.refresh()

    def chain_for_device(self, device: str) -> BackendChain:
        """The chain for CPU or GPU; without soft placement it has no fallback."""
        cpu_names = (WASM, REFERENCE) if self.soft_placement else (WASM,)
        if device == CPU:
            return self._cached_chain(*cpu_names)
        if not self.gpu_hidden and self.find_gpu() is not None:
            return self._cached_chain(WEBGPU, *cpu_names if self.soft_placement else ())
        if self.soft_placement:
            return self._cached_chain(*cpu_names)
        raise UnavailableError("tf.device", f"GPU:0 is not available: {self.why_no_gpu}",
                               'use "/CPU:0", or tf.config.set_soft_device_placement(True)')

    @property
    def why_no_gpu(self) -> str:
        hidden = "tf.config.set_visible_devices has hidden it"
        return hidden if self.gpu_hidden else self.gpu_missing_reason

    def find_gpu(self) -> Backend | None:
        """The backend of GPU:0, created on the first call; None if there is no GPU."""
        if not self.gpu_missing_reason:
            try:
                return backends.get_backend(WEBGPU)
            except UnavailableError as error:
                self.gpu_missing_reason = error.problem
        return None

    def mark_gpu_lost(self) -> None:
        """Stop using a GPU, because its device is lost and there is no other. If the user forced
        the backend, the choice becomes automatic again."""
        self.gpu_missing_reason = "its device was lost, and there is no other"
        self._gpu_is_hardware = False
        self.forced_backend = None if self.forced_backend == WEBGPU else self.forced_backend
        if self.soft_placement or self.requested_device is None:
            self.refresh()

    def failover_chain(self, device: str) -> BackendChain:
        """The chain for programs of a lost GPU device: a new GPU device, or else the CPU.

        The settings are updated too, so that new programs are placed accordingly.
        """
        if device == GPU:
            self._gpu_is_hardware = None                # the new device may be a software adapter
            self.refresh()
            return self._cached_chain(WEBGPU, WASM, REFERENCE)
        if backends.existing_backend(WEBGPU) is None and not self.gpu_missing_reason:
            self.mark_gpu_lost()
        return self._cached_chain(WASM, REFERENCE)

    def active_backends(self) -> list[Backend]:
        """The backends of the current chain that exist, its first one in any case."""
        gpu_names = self.chain.gpu.names if self.chain.gpu else ()
        names = dict.fromkeys((*self.chain.names, *gpu_names))
        first = self.chain.backend
        others = [b for b in map(backends.existing_backend, names) if b not in (None, first)]
        return [first, *others]

    def select_chain(self, prefers_gpu: Callable[[int], bool],
                     operands: Iterable[Any]) -> BackendChain:
        """The chain for a program with these operands.

        `prefers_gpu(threads)` returns whether a GPU is faster than that number of CPU threads; it
        is called only if the choice is automatic.
        """
        is_automatic = isinstance(self.chain, AutomaticChain)
        if is_automatic and self._gpu_is_hardware is not False and not self.gpu_hidden:
            if prefers_gpu(self.chain.cpu.backend.threads) and self._has_hardware_gpu():
                return self.chain_for_device(GPU)
        return self.chain.chain_for(operands)

    def _has_hardware_gpu(self) -> bool:
        if self._gpu_is_hardware is None:
            try:
                gpu = self.find_gpu()
            except Exception as error:       # no error: the program did not request a GPU
                gpu, self.gpu_missing_reason = None, f"its initialization failed: {error}"
            self._gpu_is_hardware = gpu is not None and not gpu.device_details()["software"]
            self.refresh()
        return self._gpu_is_hardware

    def _cached_chain(self, *names: str) -> BackendChain:
        """The chain of these names, cached because it holds the programs of eager operations."""
        chain = self._chains.get(names)
        if chain is None or chain.stale:
            chain = self._chains[names] = BackendChain(*names)
        return chain
