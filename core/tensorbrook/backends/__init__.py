"""Layer 5: the backends, which load and run plans. Each backend is a folder here and sees plans,
never tensors."""
import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..base.errors import InvalidArgumentError
from ..base.host_array import HostArray
from ..ir import Graph, Plan, TargetInfo


class Storage(Protocol):
    """A buffer in a backend's memory. `aliased`: more than its Variable refers to it, so an update
    must write to another buffer."""

    aliased: bool
    backend: "Backend"

    def read(self) -> bytes: ...


class Program(Protocol):
    """A loaded plan; `dispatches` are those of the plan."""

    backend: "Backend"
    dispatches: Mapping[tuple[int, ...], int] | None

    def run(self, inputs: Sequence[Storage]) -> list[Storage]: ...


class Backend(Protocol):
    """The interface of a backend.

    `read_many` reads several storages in about the time of one. `load_cached` returns the program
    of a simplified graph from the program cache, or None. `device` is "CPU" or "GPU", and
    `device_details` describes it. Once `is_lost`, get_backend creates a replacement. A thread holds
    `lock` while its program runs, and while it reads or aliases a storage that a program of another
    thread may update in place."""

    name: str
    device: str
    target: TargetInfo
    threads: int
    is_lost: bool
    lock: AbstractContextManager

    def upload(self, data: HostArray) -> Storage: ...
    def read_many(self, storages: Sequence[Any]) -> list[bytes]: ...
    def load(self, plan: Plan) -> Program: ...
    def load_cached(self, graph: Graph) -> Program | None: ...
    def counters(self) -> dict[str, int]: ...
    def device_details(self) -> dict[str, Any]: ...


class ProgramCache(Protocol):
    """Compiled programs by key, persistent across sessions that run this version of the package."""

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, data: bytes) -> None: ...


# Loads a graph's program after its device was lost: on a new device of the same kind ("GPU") or on
# the backend that cannot be lost ("CPU"). The layer above sets it because only that layer compiles.
load_on_fallback: Callable[[Graph, str], Program] | None = None
# Called when a backend is lost together with its buffers, to select another backend.
on_backend_lost: Callable[[], object] = bool

NAMES = ("wasm", "webgpu", "reference")
_loaded: dict[str, Backend] = {}
_creation_lock = threading.RLock()


def get_backend(name: str) -> Backend:
    """Return the backend with this name; it is created on first use and after it was lost."""
    if name not in NAMES:
        raise InvalidArgumentError(
            "backend", f"{name!r} is not known", f"use one of {', '.join(NAMES)}"
        )
    backend = existing_backend(name)
    if backend is None:
        with _creation_lock:                     # another thread may have created it by now
            backend = existing_backend(name)
            if backend is None:
                backend = _loaded[name] = importlib.import_module(f".{name}", __name__).create()
    return backend


def replace_backend(old: Backend, new: Backend) -> None:
    """Replace a backend that has lost its device."""
    if _loaded.get(old.name) is old:
        _loaded[old.name] = new


def existing_backend(name: str) -> Backend | None:
    """Return the backend with this name if it has been created and is not lost."""
    backend = _loaded.get(name)
    return None if backend is None or backend.is_lost else backend
