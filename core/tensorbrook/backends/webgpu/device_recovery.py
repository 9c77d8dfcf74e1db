"""A device that may be lost, as a host whose device never is.

A GPU can go away at any moment: its driver ends a shader that runs for too long, is updated, or
fails; a page's GPU process crashes. So what buffers hold is copied into the host's memory now and
then, and every command since then is written down. When the device is lost another one gets those
contents and carries the commands out again. Programs are deterministic: all is as it was, up to the
call that met the loss, and that is made again too. Nobody above notices but for a warning. Where no
other device can be had, another backend carries the commands out (substitute.py).
"""
from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from math import inf
from time import monotonic

from ... import backends
from .. import ProgramCache
from ...base.errors import InternalError, UnavailableError
from ...ir import Graph
from .device_info import DeviceInfo
from .host import no_op, BufferCopies, Host
from .compiled_program import Image
from .subgroup_probe import verify_subgroups
from .fallback_host import FallbackHost

CHECKPOINT_INTERVAL_S = 2.0            # contents are copied at most so often,
MAX_TIME_DIVISOR = 50               # and take at most one part in so many of the time
MAX_LOG_BYTES = 1 << 28    # bytes that are written down before contents are copied again
# Bytes of contents, twice that while they are copied: estimates of what is to spare. Python in a
# page has 4 GB for everything.
MAX_CHECKPOINT_BYTES = 1 << 29 if sys.platform == "emscripten" else 1 << 32
MAX_DEVICE_ATTEMPTS = 2             # devices asked for, as a program may lose each one again


@dataclass(frozen=True)
class LoadedProgram:
    """A program as another host needs it."""

    image: Image                     # without its constants
    graph: Graph | None
    first_output: int                # the slot of it


@dataclass(frozen=True)
class Checkpoint:
    """How things were at one moment, and what came after."""

    sizes: dict[int, int]            # of the buffers there were,
    contents: dict[int, bytes | memoryview]              # what those held that matter,
    log: list[tuple]                 # and all commands since: (name, *arguments)


class RecoverableHost:
    """See host.py; `load` takes an image and its graph. Numbers of buffers and programs are its
    own, and stay when the device is another.

    `spare` tells the buffers whose contents nobody needs any more. An interrupt may come at any
    line: what the device was told to run is in the log, and nothing else is; a state is whole."""

    def __init__(self, host: Host):
        self.host: Host | FallbackHost = host
        self.unused_buffers: Callable[[], set[int]] = set
        self.lost = False                # for good
        self.device_info: DeviceInfo = verify_subgroups(host)
        self._numbers = count(1)
        self.lock = threading.RLock()
        self._programs: dict[int, LoadedProgram] = {}
        self._unloaded: list[int] = []      # programs that nobody runs any more
        self._sizes: dict[int, int] = {}                 # of the buffers there are
        self._state: Checkpoint | None = Checkpoint({}, {}, [])    # None while there is too much to keep
        self._logged = 0                 # bytes of what was written
        self._commands = 0               # that there were
        self._due = monotonic() + CHECKPOINT_INTERVAL_S
        self._checkpoint_cost = [0, 0]               # calls and submits that keeping took
        self._consistent = True               # whether the host has all that it should
        # Makes the backend of a device of another kind, on which all goes on.
        self.on_device_kind_changed: Callable[[Host], object] = no_op
        self._forget_numbers()

    def _forget_numbers(self) -> None:
        self._at: dict[int, int] = {}    # our number of a buffer -> the host's
        self._there: dict[int, int] = {}                 # of a program, once it is loaded there

    # ── what the host tells ──

    @property
    def program_cache(self) -> ProgramCache | None:
        return self.host.program_cache

    @property
    def calls(self) -> int:
        return self.host.calls - self._checkpoint_cost[0]

    @property
    def submits(self) -> int:
        return self.host.submits - self._checkpoint_cost[1]

    @property
    def dispatches(self) -> int:
        return self.host.dispatches

    @property
    def pipelines(self) -> int:
        return self.host.pipelines

    # ── commands ──

    def new(self, size: int) -> int:
        return self._command("new", next(self._numbers), size)

    def free(self, buffer: int) -> None:
        self._command("free", buffer)

    def write(self, buffer: int, data) -> None:
        view = memoryview(data)
        self._command("write", buffer, view if isinstance(view.obj, bytes) else bytes(view))
        self._logged += view.nbytes if self._state is not None else 0

    def run(self, program: int, buffers: Sequence[int], copies: BufferCopies = ()) -> None:
        self._command("run", program, buffers, copies)

    def load(self, image: Image, graph: Graph | None = None) -> int:
        number = next(self._numbers)
        bare = replace(image, constants=())
        self._programs[number] = LoadedProgram(bare, graph, image.first_output)
        try:
            with self.lock:
                self._with_recovery(lambda: self._program(number))
        except BaseException:
            del self._programs[number]
            raise
        return number

    def unload(self, program: int) -> None:
        self._unloaded.append(program)      # a finalizer may call this at any moment

    def read_many(self, which: Sequence[tuple[int, int]]) -> list[bytes]:
        with self.lock:
            return self._with_recovery(lambda: self.host.read_many(
                [(self._number(buffer), size) for buffer, size in which]))

    def close(self) -> None:
        self.host.close()

    def _command(self, *command):
        """Carry out a command, and write it down."""
        with self.lock:
            self._commands += 1
            if monotonic() > self._due or self._logged > MAX_LOG_BYTES:
                self.checkpoint()
            return self._with_recovery(lambda: self._execute(command, entered=True))

    def _with_recovery(self, act: Callable):
        """What a call of the host gives, on another device if this one is lost."""
        try:
            if not self._consistent:
                raise _gone()
            return act()
        except UnavailableError as error:
            return self._recover(act, error)

    def _execute(self, command: tuple, entered: bool = False):
        name, *arguments = command
        if name == "run":
            return self._run(*arguments, entry=command if entered else None)
        result = getattr(self, f"_{name}")(*arguments)
        self._log_entry(command if entered else None)()
        return result

    def _log_entry(self, command: tuple | None) -> Callable[[], object]:
        """What writes a command down when it is called."""
        if self._state is None or command is None:
            return no_op
        return partial(self._state.log.append, command)

    def _new(self, buffer: int, size: int) -> int:
        self._at[buffer] = self.host.new(size)
        self._sizes[buffer] = size
        return buffer

    def _free(self, buffer: int) -> None:
        del self._sizes[buffer]
        if buffer in self._at:               # else it went with a device that is lost for good
            self.host.free(self._at.pop(buffer))

    def _write(self, buffer: int, data) -> None:
        self.host.write(self._number(buffer), data)

    def _run(self, program: int, buffers: Sequence[int], copies: BufferCopies,
             entry: tuple | None) -> None:
        # While these wait other tasks may run, which may keep what there is or change the device.
        self.host.wait_for_queue_space()
        number = self._program(program)
        at = self._number
        self.host.run(number, tuple(map(at, buffers)),
                      [(at(source), at(target), size) for source, target, size in copies],
                      self._log_entry(entry))

    def _number(self, buffer: int) -> int:
        if buffer not in self._at:
            raise _gone()
        return self._at[buffer]

    def _program(self, program: int) -> int:
        """The host's number of a program, which is loaded when it is first needed."""
        if program not in self._there:
            loaded = self._programs[program]
            self._there[program] = self.host.load(loaded.graph, loaded.first_output) \
                if isinstance(self.host, FallbackHost) else self.host.load(loaded.image.commands)
        return self._there[program]

    # ── the last good state ──

    def checkpoint(self) -> None:
        """Copy what buffers hold, and begin the log anew. While that is more than can be kept there
        is no log, and a loss is one; a later call finds that it fits again."""
        began, self._due = monotonic(), inf
        try:
            if self.lost:
                self._unload()
            else:
                self._snapshot_buffers()
        finally:
            self._due = monotonic() + max(CHECKPOINT_INTERVAL_S, MAX_TIME_DIVISOR * (monotonic() - began))

    def _snapshot_buffers(self) -> None:
        before, commands = (self.host.calls, self.host.submits), self._commands
        contents, changed = self._dirty_buffers()
        if sum(map(len, contents.values())) + sum(self._sizes[n] for n in changed) > MAX_CHECKPOINT_BYTES:
            self._set_checkpoint(None)
            return
        try:
            found = self.host.read_many([(self._number(n), self._sizes[n]) for n in changed])
        except UnavailableError as error:
            self._recover(lambda: None, error)
            return
        except (MemoryError, InternalError):
            self._set_checkpoint(None)                # training goes on without
            return
        self._checkpoint_cost = [own + now - then for own, now, then in
                     zip(self._checkpoint_cost, (self.host.calls, self.host.submits), before)]
        # While a page waits for a read other tasks may run; then this is no state of one moment.
        if self._commands == commands:
            self._set_checkpoint(Checkpoint(dict(self._sizes), contents | dict(zip(changed, found)), []))

    def _set_checkpoint(self, state: Checkpoint | None) -> None:
        """Come back to this state after a loss, to none if it is None."""
        self._state, self._logged = state, 0
        self._unload()

    def _dirty_buffers(self) -> tuple[dict[int, bytes | memoryview], set[int]]:
        """Of the buffers that matter: what they hold as far as we know, and those that programs
        have written to since the last good state; all of them where there is none."""
        matter = set(self._sizes) - self.unused_buffers()
        if self._state is None:
            return {}, matter
        contents, changed = dict(self._state.contents), set()
        for name, *arguments in self._state.log:
            if name == "write":
                contents[arguments[0]] = arguments[1]
                changed.discard(arguments[0])
            elif name == "run":
                program, (_, *slots), copies = arguments
                changed.update(target for _, target, _ in copies)
                changed.update(slots[n] for n in self._programs[program].image.writes)
        changed &= matter
        return {n: data for n, data in contents.items() if n in matter - changed}, changed

    def _unload(self) -> None:
        """Let go of programs that nobody runs any more, now that the log does not name them."""
        ended, self._unloaded = self._unloaded, []
        for number in ended:
            del self._programs[number]
            if number in self._there:
                self.host.unload(self._there.pop(number))

    # ── a loss ──

    def _recover(self, act: Callable, error: UnavailableError):
        """Come to where we were on another device, or elsewhere, and do what met the loss."""
        if self._state is None:
            if not self.lost:
                error = self._give_up(_gone(
                    f"{error.problem}, and with it what it held, more than could be kept as well"))
            raise error
        why, self._consistent = error.problem, False     # an interrupt leaves the rest to the next call
        for attempt in range(MAX_DEVICE_ATTEMPTS + 1):
            try:
                self._acquire_device(error, attempt == MAX_DEVICE_ATTEMPTS)
                self._replay()
                result = act()
            except UnavailableError as again:
                error = again
            else:
                break
        else:
            raise error
        by = "another device"
        if isinstance(self.host, FallbackHost):    # which is never lost, so that nothing is kept
            self._state, by = None, self.host.name
            for buffer in self.unused_buffers():
                self.forget(buffer)
        _tell(why, f"{by} has taken over where it stood")
        return result

    def _acquire_device(self, error: UnavailableError, last: bool) -> None:
        """Another host in the place of this one; the last there is if so."""
        if not last or self.lost:
            self.host.reopen_device()
        if self.lost or not last and verify_subgroups(self.host) == self.device_info:
            return
        if backends.load_on_fallback is None:
            raise self._give_up(error)
        if not last:
            self.on_device_kind_changed(self.host)
        self.lost, self.host = True, FallbackHost(self.device_info, "CPU" if last else "GPU")

    def _give_up(self, error: UnavailableError) -> UnavailableError:
        """There is nothing left, for this reason."""
        self.lost, self._state, self._consistent = True, None, True
        self._forget_numbers()
        backends.on_backend_lost()
        return error

    def _replay(self) -> None:
        assert self._state is not None, "there is something to go by"
        self._consistent = False
        self._forget_numbers()
        for buffer, size in self._state.sizes.items():
            self._new(buffer, size)
        for buffer, data in self._state.contents.items():
            self._write(buffer, data)
        for command in self._state.log:
            self._execute(command)
        self._consistent = True

    def forget(self, buffer: int) -> None:
        """Let go of what a buffer holds that nobody holds any more, on a host that is not a device;
        a finalizer may call this at any moment."""
        if self._state is None and isinstance(self.host, FallbackHost) and buffer in self._at:
            self.host.forget(self._at[buffer])


def _gone(what: str = "a tensor lay on a GPU that was lost") -> UnavailableError:
    return UnavailableError("webgpu", what, "make the model anew, or load what was saved of it; "
                            'tf.config.set_backend("wasm") does without a GPU')


def _tell(why: str, outcome: str) -> None:
    warnings.warn(f"webgpu: {why}; {outcome}, and nothing is lost", RuntimeWarning, stacklevel=2)
