"""Device recovery: checkpoints and a replay log, which hide device losses from the caller.

A GPU may be lost at any moment: its driver ends a shader that runs too long, is updated, or fails;
the GPU process of a browser crashes. Therefore the contents of buffers are copied to host memory
from time to time, and every command since the last checkpoint is logged. After a loss, another
device is restored from the checkpoint and replays the log. Programs are deterministic, so this
reproduces the state before the call that failed, which is then repeated. The caller only sees a
warning. If there is no other device, another backend replays the log (fallback_host.py).
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
from ...base.errors import InternalError, UnavailableError
from ...ir import Graph
from .. import ProgramCache
from .compiled_program import CompiledProgram
from .device_info import DeviceInfo
from .fallback_host import FallbackHost
from .host import BufferCopies, Host, no_op
from .subgroup_probe import verify_subgroups

CHECKPOINT_INTERVAL_S = 2.0        # at least this long between checkpoints,
MAX_TIME_DIVISOR = 50              # and at least this many times as long as the last one took
MAX_LOG_BYTES = 1 << 28            # written bytes in the log that trigger a checkpoint
# Bytes of a checkpoint; twice that during a checkpoint. Heuristic: Python in a page has 4 GB for
# everything.
MAX_CHECKPOINT_BYTES = 1 << 29 if sys.platform == "emscripten" else 1 << 32
MAX_DEVICE_ATTEMPTS = 2            # a program may cause the loss, and lose every device again


@dataclass(frozen=True)
class LoadedProgram:
    """A program in the form that another host needs to load it."""

    compiled: CompiledProgram        # without its constants
    graph: Graph | None
    first_output_slot: int


@dataclass(frozen=True)
class Checkpoint:
    """The state at one moment, and the commands since."""

    sizes: dict[int, int]            # of all buffers
    contents: dict[int, bytes | memoryview]              # of the buffers in use
    log: list[tuple]                 # commands: (name, *arguments)


class RecoverableHost:
    """A host as in host.py, whose device is never lost; `load` takes a compiled program and its
    graph. Its handles of buffers and programs remain valid on another device.

    `unused_buffers` returns the buffers whose contents are not needed. An interrupt may occur at
    any line: the log contains exactly the commands that the device has received, and `_state` is
    replaced as a whole."""

    def __init__(self, host: Host):
        self.host: Host | FallbackHost = host
        self.unused_buffers: Callable[[], set[int]] = set
        self.lost = False                # for good
        self.device_info: DeviceInfo = verify_subgroups(host)
        self._handles = count(1)
        self.lock = threading.RLock()
        self._programs: dict[int, LoadedProgram] = {}
        self._unloaded: list[int] = []                   # programs to delete
        self._sizes: dict[int, int] = {}                 # of all buffers
        # The last checkpoint; None while the contents are too large.
        self._state: Checkpoint | None = Checkpoint({}, {}, [])
        self._logged_bytes = 0
        self._num_commands = 0
        self._due = monotonic() + CHECKPOINT_INTERVAL_S
        self._checkpoint_cost = [0, 0]       # calls and submits of checkpoints, which do not count
        self._consistent = True              # False while the device lacks buffers or programs
        # Creates the backend of a device of another kind, to which later calls go.
        self.on_device_kind_changed: Callable[[Host], object] = no_op
        self._reset_handles()

    def _reset_handles(self) -> None:
        self._host_buffers: dict[int, int] = {}          # our handle -> the host's
        self._host_programs: dict[int, int] = {}         # likewise, of the programs loaded there

    # ── properties of the host ──

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
        return self._command("new", next(self._handles), size)

    def free(self, buffer: int) -> None:
        self._command("free", buffer)

    def write(self, buffer: int, data) -> None:
        view = memoryview(data)
        self._command("write", buffer, view if isinstance(view.obj, bytes) else bytes(view))
        self._logged_bytes += view.nbytes if self._state is not None else 0

    def run(self, program: int, buffers: Sequence[int], copies: BufferCopies = ()) -> None:
        self._command("run", program, buffers, copies)

    def load(self, compiled: CompiledProgram, graph: Graph | None = None) -> int:
        handle = next(self._handles)
        without_constants = replace(compiled, constants=())
        self._programs[handle] = LoadedProgram(without_constants, graph,
                                               compiled.first_output_slot)
        try:
            with self.lock:
                self._with_recovery(lambda: self._program_handle(handle))
        except BaseException:
            del self._programs[handle]
            raise
        return handle

    def unload(self, program: int) -> None:
        self._unloaded.append(program)      # a finalizer may call this at any moment

    def read_many(self, requests: Sequence[tuple[int, int]]) -> list[bytes]:
        with self.lock:
            return self._with_recovery(lambda: self.host.read_many(
                [(self._buffer_handle(buffer), size) for buffer, size in requests]))

    def close(self) -> None:
        self.host.close()

    def _command(self, *command):
        """Execute a command and log it."""
        with self.lock:
            self._num_commands += 1
            if monotonic() > self._due or self._logged_bytes > MAX_LOG_BYTES:
                self.checkpoint()
            return self._with_recovery(lambda: self._execute(command, is_logged=True))

    def _with_recovery(self, act: Callable):
        """Return the result of a call of the host, on another device if this one is lost."""
        try:
            if not self._consistent:
                raise _lost_tensor_error()
            return act()
        except UnavailableError as error:
            return self._recover(act, error)

    def _execute(self, command: tuple, is_logged: bool = False):
        name, *arguments = command
        if name == "run":
            return self._run(*arguments, logged_command=command if is_logged else None)
        result = getattr(self, f"_{name}")(*arguments)
        self._log_entry(command if is_logged else None)()
        return result

    def _log_entry(self, command: tuple | None) -> Callable[[], object]:
        """Return a function that logs a command, or does nothing."""
        if self._state is None or command is None:
            return no_op
        return partial(self._state.log.append, command)

    def _new(self, buffer: int, size: int) -> int:
        self._host_buffers[buffer] = self.host.new(size)
        self._sizes[buffer] = size
        return buffer

    def _free(self, buffer: int) -> None:
        del self._sizes[buffer]
        if buffer in self._host_buffers:     # otherwise it was on a device that is lost for good
            self.host.free(self._host_buffers.pop(buffer))

    def _write(self, buffer: int, data) -> None:
        self.host.write(self._buffer_handle(buffer), data)

    def _run(self, program: int, buffers: Sequence[int], copies: BufferCopies,
             logged_command: tuple | None) -> None:
        # Other tasks may run during these waits. They may checkpoint or change the device, so the
        # handles and the log entry are determined afterwards.
        self.host.wait_for_queue_space()
        host_program = self._program_handle(program)
        handle = self._buffer_handle
        self.host.run(host_program, tuple(map(handle, buffers)),
                      [(handle(source), handle(target), size) for source, target, size in copies],
                      self._log_entry(logged_command))

    def _buffer_handle(self, buffer: int) -> int:
        if buffer not in self._host_buffers:
            raise _lost_tensor_error()
        return self._host_buffers[buffer]

    def _program_handle(self, program: int) -> int:
        """Return the host's handle of a program, which is loaded at its first use."""
        if program not in self._host_programs:
            loaded = self._programs[program]
            self._host_programs[program] = \
                self.host.load(loaded.graph, loaded.first_output_slot) \
                if isinstance(self.host, FallbackHost) else self.host.load(loaded.compiled.commands)
        return self._host_programs[program]

    # ── checkpoints ──

    def checkpoint(self) -> None:
        """Copy the contents of buffers and clear the log.

        While the contents are too large for a checkpoint there is no log, and a lost device means
        lost contents; a later call takes a checkpoint again once the contents fit."""
        began, self._due = monotonic(), inf
        try:
            if self.lost:
                self._unload()
            else:
                self._snapshot_buffers()
        finally:
            taken = monotonic() - began
            self._due = monotonic() + max(CHECKPOINT_INTERVAL_S, MAX_TIME_DIVISOR * taken)

    def _snapshot_buffers(self) -> None:
        counters, num_commands = (self.host.calls, self.host.submits), self._num_commands
        contents, dirty = self._dirty_buffers()
        size = sum(map(len, contents.values())) + sum(self._sizes[n] for n in dirty)
        if size > MAX_CHECKPOINT_BYTES:
            self._set_checkpoint(None)
            return
        try:
            read = self.host.read_many([(self._buffer_handle(n), self._sizes[n]) for n in dirty])
        except UnavailableError as error:
            self._recover(lambda: None, error)
            return
        except (MemoryError, InternalError):
            self._set_checkpoint(None)                # training continues without a checkpoint
            return
        self._checkpoint_cost = [
            cost + after - before for cost, after, before in
            zip(self._checkpoint_cost, (self.host.calls, self.host.submits), counters)]
        # Other tasks may run while a page waits for a read, so that it is not of one moment.
        if self._num_commands == num_commands:
            contents |= dict(zip(dirty, read))
            self._set_checkpoint(Checkpoint(dict(self._sizes), contents, []))

    def _set_checkpoint(self, state: Checkpoint | None) -> None:
        """Set the state to restore after a loss, or None if there is none."""
        self._state, self._logged_bytes = state, 0
        self._unload()

    def _dirty_buffers(self) -> tuple[dict[int, bytes | memoryview], set[int]]:
        """Return (known contents, dirty buffers) of the buffers in use: programs have written the
        dirty ones since the last checkpoint. Without a checkpoint all are dirty."""
        used = set(self._sizes) - self.unused_buffers()
        if self._state is None:
            return {}, used
        contents, dirty = dict(self._state.contents), set()
        for name, *arguments in self._state.log:
            if name == "write":
                contents[arguments[0]] = arguments[1]
                dirty.discard(arguments[0])
            elif name == "run":
                program, (_, *slots), copies = arguments
                dirty.update(target for _, target, _ in copies)
                dirty.update(slots[n] for n in self._programs[program].compiled.written_slots)
        dirty &= used
        return {n: data for n, data in contents.items() if n in used - dirty}, dirty

    def _unload(self) -> None:
        """Delete the unloaded programs, which the log no longer contains."""
        unloaded, self._unloaded = self._unloaded, []
        for program in unloaded:
            del self._programs[program]
            if program in self._host_programs:
                self.host.unload(self._host_programs.pop(program))

    # ── recovery ──

    def _recover(self, act: Callable, error: UnavailableError):
        """Restore the state on another device or another backend, and repeat the failed call."""
        if self._state is None:
            if not self.lost:
                error = self._give_up(_lost_tensor_error(
                    f"{error.problem}, and its contents were too large for a checkpoint"))
            raise error
        # Until the replay is complete, so that the next call repeats an interrupted recovery.
        cause, self._consistent = error.problem, False
        for attempt in range(MAX_DEVICE_ATTEMPTS + 1):
            try:
                self._acquire_device(error, attempt == MAX_DEVICE_ATTEMPTS)
                self._replay()
                result = act()
            except UnavailableError as next_error:
                error = next_error
            else:
                break
        else:
            raise error
        successor = "another device"
        if isinstance(self.host, FallbackHost):    # never lost, so it needs no checkpoints
            self._state, successor = None, self.host.name
            for buffer in self.unused_buffers():
                self.drop_contents(buffer)
        warnings.warn(f"webgpu: {cause}; {successor} has taken over, and nothing is lost",
                      RuntimeWarning, stacklevel=1)
        return result

    def _acquire_device(self, error: UnavailableError, is_last: bool) -> None:
        """Replace the device, or the host if the new device is of another kind or if this is the
        last attempt."""
        if not is_last or self.lost:
            self.host.reopen_device()
        if self.lost or not is_last and verify_subgroups(self.host) == self.device_info:
            return
        if backends.load_on_fallback is None:
            raise self._give_up(error)
        if not is_last:
            self.on_device_kind_changed(self.host)
        self.lost, self.host = True, FallbackHost(self.device_info, "CPU" if is_last else "GPU")

    def _give_up(self, error: UnavailableError) -> UnavailableError:
        """Mark all contents as lost; return the error."""
        self.lost, self._state, self._consistent = True, None, True
        self._reset_handles()
        backends.on_backend_lost()
        return error

    def _replay(self) -> None:
        assert self._state is not None, "there is a checkpoint"
        self._consistent = False
        self._reset_handles()
        for buffer, size in self._state.sizes.items():
            self._new(buffer, size)
        for buffer, data in self._state.contents.items():
            self._write(buffer, data)
        for command in self._state.log:
            self._execute(command)
        self._consistent = True

    def drop_contents(self, buffer: int) -> None:
        """Drop the contents of an unused buffer on a fallback host. A finalizer may call this at
        any moment."""
        if self._state is None and isinstance(self.host, FallbackHost) \
                and buffer in self._host_buffers:
            self.host.drop_contents(self._host_buffers[buffer])


def _lost_tensor_error(problem: str = "a tensor was stored on a GPU that was lost"
                       ) -> UnavailableError:
    return UnavailableError("webgpu", problem, "create the model again, or load a saved one; "
                            'tf.config.set_backend("wasm") needs no GPU')
