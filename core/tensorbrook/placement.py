"""Where programs run: which backends may carry one out, and which does where nobody chose."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from . import backends
from .backends import Backend, Program, Storage
from .base.task_local import register_stack
from .base.errors import (
    InternalError, OpError, ResourceExhaustedError, UnavailableError, UnimplementedError)
from .compiler import fuse, build_plan, simplify, lower_float16
from .ir import Graph, Plan, TensorSpec
from .tensor import Variable

CPU, GPU = "CPU", "GPU"
WASM, WEBGPU, REFERENCE = "wasm", "webgpu", "reference"
BACKEND_FOR_DEVICE = {CPU: WASM, GPU: WEBGPU}


def compile(graph: Graph, on: Backend) -> Program:
    """A graph as a program: one that the backend has kept, or else through every stage."""
    graph = simplify_for(graph, on)
    return on.load_cached(graph) or on.load(plan_for(graph, on))


def simplify_for(graph: Graph, on: Backend) -> Graph:
    """The smallest graph that means the same to a backend."""
    return simplify(lower_float16(graph, on.target))


def plan_for(graph: Graph, on: Backend) -> Plan:
    """The plan of a simplified graph."""
    kernels, outputs = fuse(graph, on.target)
    return build_plan(graph, kernels, outputs, on.target)


class BackendChain:
    """The backends that may carry a program out, the first that can does; with what operations
    that run at once keep there: their programs, and the storages of numbers."""

    gpu: BackendChain | None = None           # of an automatic one, where it has found a GPU

    def __init__(self, *names: str):
        self.names = names
        self.loaded_backends: set[Backend] = set()
        self.programs: dict[Any, tuple[Program, TensorSpec | tuple[TensorSpec, ...]]] = {}
        self.numbers: dict[Any, Storage] = {}
        self.warned_about_reference = False                    # that something runs on backend reference

    @cached_property
    def backend(self) -> Backend:
        return self._backend(self.names[0])

    def _backend(self, name: str) -> Backend:
        found = backends.get_backend(name)
        self.loaded_backends.add(found)
        return found

    @property
    def stale(self) -> bool:
        """Whether one of its backends is not the one of that name any more."""
        return any(backends.existing_backend(each.name) is not each for each in self.loaded_backends)

    def load(self, graph: Graph) -> Program:
        """The program of a graph on the first backend that can compute it."""
        refused: OpError | None = None
        for name in self.names:
            try:
                program = compile(graph, self._backend(name))
            except (UnimplementedError, ResourceExhaustedError, InternalError) as error:
                if name != WEBGPU and isinstance(error, ResourceExhaustedError):
                    raise                    # the CPU's memory is the last
                refused = error
            except ModuleNotFoundError:
                break                        # a page without NumPy has no backend reference
            else:
                if isinstance(refused, InternalError):
                    warnings.warn(f"{refused.op}: {refused.problem}, so backend {name} carries it "
                                  "out; please report this", RuntimeWarning, stacklevel=3)
                elif isinstance(refused, UnimplementedError) and name == REFERENCE:
                    self._warn_about_reference(refused)
                return program
        assert refused is not None, f"{self.names} names no backend"
        raise refused

    def chain_for(self, held: Iterable[Any]) -> BackendChain:
        """The way of what is too small to choose for itself and takes these tensors."""
        return self

    def _warn_about_reference(self, refused: UnimplementedError) -> None:
        if not self.warned_about_reference:
            self.warned_about_reference = True
            warnings.warn(
                f"{refused.op}: {refused.problem}, so backend reference does, which is slow; "
                f"{refused.hint}; tf.config.set_soft_device_placement(False) stops here",
                RuntimeWarning, stacklevel=4)


class AutomaticChain(BackendChain):
    """Where nobody chose: the CPU, and once a large program has found a GPU, either of two ways."""

    def __init__(self, cpu: BackendChain, gpu: BackendChain | None):
        self.names, self.loaded_backends = cpu.names, cpu.loaded_backends
        self.programs, self.numbers = cpu.programs, cpu.numbers
        self.cpu, self.gpu = cpu, gpu

    def chain_for(self, held: Iterable[Any]) -> BackendChain:
        """To the device on which most bytes of the Variables lie, or, without any, of the tensors.
        So what is learnt stays where it is learnt: a tensor moves once, and a Variable would be
        moved back by the next step."""
        if self.gpu is None:
            return self.cpu
        tensors = variables = 0
        for each in held:
            if each.storage is not None:
                size = each.spec.size_bytes
                size = size if each.storage.backend is self.gpu.backend else -size
                if isinstance(each, Variable):
                    variables += size
                else:
                    tensors += size
        return self.gpu if (variables or tensors) > 0 else self.cpu


class PlacementPolicy:
    """What the user chose, and the way that follows from it: the innermost device of a `with`,
    else the backend that was set, else it is for us to choose."""

    def __init__(self, backend_name: str | None):
        self.forced_backend = backend_name           # a backend by name, and no other
        # The devices that blocks have asked for, or None; the innermost is the last.
        self._blocks: list[str | None] = register_stack([], on_change=self.refresh)
        self.soft_placement = True                     # whether another device may do what that one cannot
        self.gpu_hidden = False                  # whether the GPU is not to be used
        self.gpu_missing_reason = ""                     # why there is none, once that is known
        self._chains: dict[tuple[str, ...], BackendChain] = {}
        self._automatic: AutomaticChain | None = None
        self._gpu_is_hardware: bool | None = None       # whether no processor plays it; None: not known yet
        self.refresh()

    @property
    def requested_device(self) -> str | None:
        """The device that the innermost block asks for: CPU, GPU, or None for none."""
        return self._blocks[-1] if self._blocks else None

    def push_device(self, device: str | None) -> None:
        """Begin a block that asks for a device."""
        self._blocks.append(device)
        try:
            self.refresh()
        except BaseException:
            self._blocks.pop()
            raise

    def pop_device(self) -> None:
        """End the innermost block, unless an interrupt has ended all."""
        del self._blocks[-1:]
        self.refresh()

    def refresh(self) -> None:
        """Go by what is chosen now. Whoever holds another way than `self.way` asks again."""
        if self.requested_device is not None:
            self.chain = self.chain_for_device(self.requested_device)
        elif self.forced_backend is not None:
            self.chain = self._cached_chain(self.forced_backend)
        else:
            self.chain = self._automatic_chain()

    def hide_gpu(self, hidden: bool) -> None:
        """Whether the GPU is not to be used; what was placed before is placed anew."""
        self.gpu_hidden, self._automatic = hidden, None
        self.refresh()

    def _automatic_chain(self) -> AutomaticChain:
        """The same one as long as both ways are, so that nobody asks in vain after a block."""
        cpu, gpu = self.chain_for_device(CPU), self.chain_for_device(GPU) if self._gpu_is_hardware and not self.gpu_hidden else None
        last = self._automatic
        if last is None or last.cpu is not cpu or last.gpu is not gpu:
            last = self._automatic = AutomaticChain(cpu, gpu)
        return last

    def force_backend(self, name: str | None) -> None:
        """Carry out on this backend from now on; None leaves the choice to us."""
        if name is not None:
            backends.get_backend(name)           # it must be there
        if name == WEBGPU:
            self.gpu_missing_reason = ""                 # perhaps again
        self.forced_backend = name
        self.refresh()

    def chain_for_device(self, device: str) -> BackendChain:
        """The way to CPU or GPU, as strict as the user has it."""
        on_cpu = (WASM, REFERENCE) if self.soft_placement else (WASM,)
        if device == CPU:
            return self._cached_chain(*on_cpu)
        if not self.gpu_hidden and self.find_gpu() is not None:
            return self._cached_chain(WEBGPU, *on_cpu) if self.soft_placement else self._cached_chain(WEBGPU)
        if self.soft_placement:
            return self._cached_chain(*on_cpu)
        raise UnavailableError("tf.device", f"there is no GPU:0: {self.why_no_gpu}",
                               'use "/CPU:0", or tf.config.set_soft_device_placement(True)')

    @property
    def why_no_gpu(self) -> str:
        return "tf.config.set_visible_devices has hidden it" if self.gpu_hidden else self.gpu_missing_reason

    def find_gpu(self) -> Backend | None:
        """The backend of GPU:0, which is looked for when it is first asked for."""
        if not self.gpu_missing_reason:
            try:
                return backends.get_backend(WEBGPU)
            except UnavailableError as error:
                self.gpu_missing_reason = error.problem
        return None

    def mark_gpu_lost(self) -> None:
        """Do without a GPU from now on: its device is lost, and there is no other. Who demanded it
        goes on where we choose."""
        self.gpu_missing_reason, self._gpu_is_hardware = "it was lost, and there is no other", False
        self.forced_backend = None if self.forced_backend == WEBGPU else self.forced_backend
        if self.soft_placement or self.requested_device is None:
            self.refresh()

    def failover_chain(self, device: str) -> BackendChain:
        """The way of what lay on a GPU that is lost: to the one there is now, or, as there is none,
        to the CPU. What comes goes there at once."""
        if device == GPU:
            self._gpu_is_hardware = None                # perhaps a processor plays this one
            self.refresh()
            return self._cached_chain(WEBGPU, WASM, REFERENCE)
        if backends.existing_backend(WEBGPU) is None and not self.gpu_missing_reason:
            self.mark_gpu_lost()
        return self._cached_chain(WASM, REFERENCE)

    def active_backends(self) -> list[Backend]:
        """The backends that programs may go to now, as far as they are made."""
        names = dict.fromkeys((*self.chain.names, *(self.chain.gpu.names if self.chain.gpu else ())))
        first = self.chain.backend
        return [first, *(b for b in map(backends.existing_backend, names) if b not in (None, first))]

    def select_chain(self, wants_gpu: Callable[[int], bool], held: Iterable[Any]) -> BackendChain:
        """Where a program goes that takes these tensors; `wants_gpu` tells whether it is large
        enough for a GPU to win over so many threads."""
        if isinstance(self.chain, AutomaticChain) and self._gpu_is_hardware is not False and not self.gpu_hidden:
            if wants_gpu(self.chain.cpu.backend.threads) and self._has_real_gpu():
                return self.chain_for_device(GPU)
        return self.chain.chain_for(held)

    def _has_real_gpu(self) -> bool:
        if self._gpu_is_hardware is None:
            try:
                found = self.find_gpu()
            except Exception as error:       # nobody asked for it, so it stops nobody
                found, self.gpu_missing_reason = None, f"it does not come up: {error}"
            self._gpu_is_hardware = found is not None and not found.device_details()["software"]
            self.refresh()
        return self._gpu_is_hardware

    def _cached_chain(self, *names: str) -> BackendChain:
        """The one way by these names, so that what was found on it is found again."""
        way = self._chains.get(names)
        if way is None or way.stale:
            way = self._chains[names] = BackendChain(*names)
        return way

