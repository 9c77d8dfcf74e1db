"""Layer 5: what carries out plans. Each backend is a folder here and sees plans, never tensors."""
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..base.errors import InvalidArgumentError
from ..base.host_array import HostArray
from ..ir import Graph, TargetInfo, Plan


class Storage(Protocol):
    """A buffer that a backend holds. `shared`: someone besides its Variable may look at it, so an
    update must go to another buffer."""

    aliased: bool
    backend: "Backend"

    def read(self) -> bytes: ...


class Program(Protocol):
    """A plan, loaded; `dispatches` as a plan has them."""

    backend: "Backend"
    dispatches: Mapping[tuple[int, ...], int] | None

    def run(self, inputs: Sequence[Storage]) -> list[Storage]: ...


class Backend(Protocol):
    """All that the rest of Tensorbrook asks of a backend.

    `read_many` tells what several of its storages hold, as quickly as what one does. `recall` finds
    the program of a simplified graph that was loaded before, perhaps in an earlier session; a
    backend that keeps none gives None. `device` is "CPU" or "GPU", of which `details` tell what
    there is to know. `lost` tells whether it is no more: whoever asks for the backend by name is
    given another then."""

    name: str
    device: str
    target: TargetInfo
    threads: int
    is_lost: bool

    def upload(self, data: HostArray) -> Storage: ...
    def read_many(self, storages: Sequence[Any]) -> list[bytes]: ...
    def load(self, plan: Plan) -> Program: ...
    def load_cached(self, graph: Graph) -> Program | None: ...
    def counters(self) -> dict[str, int]: ...
    def device_details(self) -> dict[str, Any]: ...


class ProgramCache(Protocol):
    """Bytes by their keys, from earlier sessions with this very version of the package, too."""

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, data: bytes) -> None: ...


# The program of a graph whose device was lost: on the one there is now ("GPU"), or on one that
# cannot be lost ("CPU"). The conductors know how to come to it, and fill it in.
load_on_fallback: Callable[[Graph, str], Program] | None = None
# Told when a backend is lost with what it held, and so what comes must go to another.
on_backend_lost: Callable[[], object] = bool

NAMES = ("wasm", "webgpu", "reference")
_made: dict[str, Backend] = {}


def get_backend(name: str) -> Backend:
    """The backend of that name, made on first use."""
    if name not in NAMES:
        raise InvalidArgumentError(
            "backend", f"{name!r} is not known", f"use one of {', '.join(NAMES)}"
        )
    if existing_backend(name) is None:
        _made[name] = importlib.import_module(f".{name}", __name__).create()
    return _made[name]


def replace_backend(old: Backend, new: Backend) -> None:
    """Let a backend take the place of one that has lost its device."""
    if _made.get(old.name) is old:
        _made[old.name] = new


def existing_backend(name: str) -> Backend | None:
    """The backend of that name if it has been made, and has not lost its device since."""
    found = _made.get(name)
    return None if found is None or found.is_lost else found
