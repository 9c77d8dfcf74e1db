"""Where programs run: which backends may carry one out, and which does where nobody chose."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from . import backends
from .backends import Backend, Program, Storage
from .base.aside import private
from .base.errors import (
    InternalError, OpError, ResourceExhaustedError, UnavailableError, UnimplementedError)
from .compiler import fuse, plan, simplify, widened
from .ir import Graph, Plan, Spec
from .tensor import Variable

CPU, GPU = "CPU", "GPU"
WASM, WEBGPU, REFERENCE = "wasm", "webgpu", "reference"
ON_DEVICE = {CPU: WASM, GPU: WEBGPU}


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


class Way:
    """The backends that may carry a program out, the first that can does; with what operations
    that run at once keep there: their programs, and the storages of numbers."""

    gpu: Way | None = None           # of an automatic one, where it has found a GPU

    def __init__(self, *names: str):
        self.names = names
        self.used: set[Backend] = set()
        self.programs: dict[Any, tuple[Program, Spec | tuple[Spec, ...]]] = {}
        self.numbers: dict[Any, Storage] = {}
        self.told = False                    # that something runs on backend reference

    @cached_property
    def backend(self) -> Backend:
        return self._called(self.names[0])

    def _called(self, name: str) -> Backend:
        found = backends.backend(name)
        self.used.add(found)
        return found

    @property
    def stale(self) -> bool:
        """Whether one of its backends is not the one of that name any more."""
        return any(backends.made(each.name) is not each for each in self.used)

    def load(self, graph: Graph) -> Program:
        """The program of a graph on the first backend that can compute it."""
        refused: OpError | None = None
        for name in self.names:
            try:
                program = compile(graph, self._called(name))
            except (UnimplementedError, ResourceExhaustedError, InternalError) as error:
                if name != WEBGPU and isinstance(error, ResourceExhaustedError):
                    raise                    # the CPU's memory is the last
                refused = error
            except ModuleNotFoundError:
                break                        # a page without NumPy has no backend reference
            else:
                if isinstance(refused, InternalError):
                    warnings.warn(f"{refused.op}: {refused.what}, so backend {name} carries it "
                                  "out; please report this", RuntimeWarning, stacklevel=3)
                elif isinstance(refused, UnimplementedError) and name == REFERENCE:
                    self._tell_of_reference(refused)
                return program
        assert refused is not None, f"{self.names} names no backend"
        raise refused

    def toward(self, held: Iterable[Any]) -> Way:
        """The way of what is too small to choose for itself and takes these tensors."""
        return self

    def _tell_of_reference(self, refused: UnimplementedError) -> None:
        if not self.told:
            self.told = True
            warnings.warn(
                f"{refused.op}: {refused.what}, so backend reference does, which is slow; "
                f"{refused.way_out}; tf.config.set_soft_device_placement(False) stops here",
                RuntimeWarning, stacklevel=4)


class Automatic(Way):
    """Where nobody chose: the CPU, and once a large program has found a GPU, either of two ways."""

    def __init__(self, cpu: Way, gpu: Way | None):
        self.names, self.used = cpu.names, cpu.used
        self.programs, self.numbers = cpu.programs, cpu.numbers
        self.cpu, self.gpu = cpu, gpu

    def toward(self, held: Iterable[Any]) -> Way:
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


class Placement:
    """What the user chose, and the way that follows from it: the innermost device of a `with`,
    else the backend that was set, else it is for us to choose."""

    def __init__(self, backend_name: str | None):
        self.chosen = backend_name           # a backend by name, and no other
        # The devices that blocks have asked for, or None; the innermost is the last.
        self._blocks: list[str | None] = private([], changed=self.settle)
        self.soft = True                     # whether another device may do what that one cannot
        self.hidden = False                  # whether the GPU is not to be used
        self.no_gpu = ""                     # why there is none, once that is known
        self._ways: dict[tuple[str, ...], Way] = {}
        self._automatic: Automatic | None = None
        self._real: bool | None = None       # whether no processor plays it; None: not known yet
        self.settle()

    @property
    def asked(self) -> str | None:
        """The device that the innermost block asks for: CPU, GPU, or None for none."""
        return self._blocks[-1] if self._blocks else None

    def enter(self, device: str | None) -> None:
        """Begin a block that asks for a device."""
        self._blocks.append(device)
        try:
            self.settle()
        except BaseException:
            self._blocks.pop()
            raise

    def leave(self) -> None:
        """End the innermost block, unless an interrupt has ended all."""
        del self._blocks[-1:]
        self.settle()

    def settle(self) -> None:
        """Go by what is chosen now. Whoever holds another way than `self.way` asks again."""
        if self.asked is not None:
            self.way = self.way_to(self.asked)
        elif self.chosen is not None:
            self.way = self._kept(self.chosen)
        else:
            self.way = self._chosen_by_us()

    def hide_gpu(self, hidden: bool) -> None:
        """Whether the GPU is not to be used; what was placed before is placed anew."""
        self.hidden, self._automatic = hidden, None
        self.settle()

    def _chosen_by_us(self) -> Automatic:
        """The same one as long as both ways are, so that nobody asks in vain after a block."""
        cpu, gpu = self.way_to(CPU), self.way_to(GPU) if self._real and not self.hidden else None
        last = self._automatic
        if last is None or last.cpu is not cpu or last.gpu is not gpu:
            last = self._automatic = Automatic(cpu, gpu)
        return last

    def choose(self, name: str | None) -> None:
        """Carry out on this backend from now on; None leaves the choice to us."""
        if name is not None:
            backends.backend(name)           # it must be there
        if name == WEBGPU:
            self.no_gpu = ""                 # perhaps again
        self.chosen = name
        self.settle()

    def way_to(self, device: str) -> Way:
        """The way to CPU or GPU, as strict as the user has it."""
        on_cpu = (WASM, REFERENCE) if self.soft else (WASM,)
        if device == CPU:
            return self._kept(*on_cpu)
        if not self.hidden and self.find_gpu() is not None:
            return self._kept(WEBGPU, *on_cpu) if self.soft else self._kept(WEBGPU)
        if self.soft:
            return self._kept(*on_cpu)
        raise UnavailableError("tf.device", f"there is no GPU:0: {self.why_no_gpu}",
                               'use "/CPU:0", or tf.config.set_soft_device_placement(True)')

    @property
    def why_no_gpu(self) -> str:
        return "tf.config.set_visible_devices has hidden it" if self.hidden else self.no_gpu

    def find_gpu(self) -> Backend | None:
        """The backend of GPU:0, which is looked for when it is first asked for."""
        if not self.no_gpu:
            try:
                return backends.backend(WEBGPU)
            except UnavailableError as error:
                self.no_gpu = error.what
        return None

    def lose_gpu(self) -> None:
        """Do without a GPU from now on: its device is lost, and there is no other. Who demanded it
        goes on where we choose."""
        self.no_gpu, self._real = "it was lost, and there is no other", False
        self.chosen = None if self.chosen == WEBGPU else self.chosen
        if self.soft or self.asked is None:
            self.settle()

    def way_on(self, device: str) -> Way:
        """The way of what lay on a GPU that is lost: to the one there is now, or, as there is none,
        to the CPU. What comes goes there at once."""
        if device == GPU:
            self._real = None                # perhaps a processor plays this one
            self.settle()
            return self._kept(WEBGPU, WASM, REFERENCE)
        if backends.made(WEBGPU) is None and not self.no_gpu:
            self.lose_gpu()
        return self._kept(WASM, REFERENCE)

    def in_use(self) -> list[Backend]:
        """The backends that programs may go to now, as far as they are made."""
        names = dict.fromkeys((*self.way.names, *(self.way.gpu.names if self.way.gpu else ())))
        first = self.way.backend
        return [first, *(b for b in map(backends.made, names) if b not in (None, first))]

    def place(self, wants_gpu: Callable[[int], bool], held: Iterable[Any]) -> Way:
        """Where a program goes that takes these tensors; `wants_gpu` tells whether it is large
        enough for a GPU to win over so many threads."""
        if isinstance(self.way, Automatic) and self._real is not False and not self.hidden:
            if wants_gpu(self.way.cpu.backend.threads) and self._has_real_gpu():
                return self.way_to(GPU)
        return self.way.toward(held)

    def _has_real_gpu(self) -> bool:
        if self._real is None:
            try:
                found = self.find_gpu()
            except Exception as error:       # nobody asked for it, so it stops nobody
                found, self.no_gpu = None, f"it does not come up: {error}"
            self._real = found is not None and not found.details()["software"]
            self.settle()
        return self._real

    def _kept(self, *names: str) -> Way:
        """The one way by these names, so that what was found on it is found again."""
        way = self._ways.get(names)
        if way is None or way.stale:
            way = self._ways[names] = Way(*names)
        return way

