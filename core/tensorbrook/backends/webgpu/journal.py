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
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from math import inf
from time import monotonic

from ... import backends
from .. import Kept
from ...base.errors import InternalError, UnavailableError
from ...ir import Graph
from .facts import Facts
from .host import Host
from .image import Copy, Image
from .neighbours import checked
from .substitute import Substitute

EVERY_S = 2.0            # contents are copied at most so often,
SHARE = 50               # and take at most one part in so many of the time
MOST_LOGGED = 1 << 28    # bytes that are written down before contents are copied again
# Bytes of contents, twice that while they are copied: estimates of what is to spare. Python in a
# page has 4 GB for everything.
MOST_KEPT = 1 << 29 if sys.platform == "emscripten" else 1 << 32
ATTEMPTS = 2             # devices asked for, as a program may lose each one again


@dataclass(frozen=True)
class Loaded:
    """A program as another host needs it, and the slots that it writes."""

    image: bytes
    graph: Graph | None
    writes: tuple[int, ...]


class Journal:
    """See host.py; `load` takes the graph of the program besides its image. Numbers of buffers and
    programs are its own, and stay when the device is another.

    `spare` tells the buffers whose contents nobody needs any more."""

    def __init__(self, host: Host):
        self.host: Host | Substitute = host
        self.spare: Callable[[], set[int]] = set
        self.lost = False                # for good
        self.facts: Facts = checked(host)
        self._numbers = count(1)
        self.lock = threading.RLock()
        self._programs: dict[int, Loaded] = {}
        self._ended: list[int] = []      # programs that nobody runs any more
        self._sizes: dict[int, int] = {}                 # of the buffers there are
        # The last good state: the buffers there were, and what those held that matter; and since
        # then all commands, (name, *arguments), None when they are not written down any more.
        self._sizes_then: dict[int, int] = {}
        self._contents: dict[int, bytes | memoryview] = {}
        self._log: list[tuple] | None = []
        self._logged = 0                 # bytes of what was written
        self._due = monotonic() + EVERY_S
        self._own = [0, 0]               # calls and submits that keeping took
        self._forget_numbers()

    def _forget_numbers(self) -> None:
        self._at: dict[int, int] = {}    # our number of a buffer -> the host's
        self._there: dict[int, int] = {}                 # of a program, once it is loaded there

    # ── what the host tells ──

    @property
    def kept(self) -> Kept | None:
        return self.host.kept

    @property
    def calls(self) -> int:
        return self.host.calls - self._own[0]

    @property
    def submits(self) -> int:
        return self.host.submits - self._own[1]

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
        self._logged += view.nbytes if self._log is not None else 0

    def copy(self, source: int, target: int, size: int) -> None:
        self._command("copy", source, target, size)

    def run(self, program: int, arena: int, *slots: int) -> None:
        self._command("run", program, arena, slots)

    def load(self, image: bytes, graph: Graph | None = None) -> int:
        number = next(self._numbers)
        self._programs[number] = Loaded(image, graph, _writes(Image.from_bytes(image)))
        try:
            with self.lock:
                self._safely(lambda: self._program(number))
        except BaseException:
            del self._programs[number]
            raise
        return number

    def unload(self, program: int) -> None:
        self._ended.append(program)      # a finalizer may call this at any moment

    def read(self, buffer: int, size: int) -> bytes:
        with self.lock:
            return self._safely(lambda: self.host.read(self._number(buffer), size))

    def close(self) -> None:
        self.host.close()

    def _command(self, *command):
        """Carry out a command, and write it down."""
        with self.lock:
            if monotonic() > self._due or self._logged > MOST_LOGGED:
                self.keep()
            result = self._safely(lambda: self._carry_out(command))
            if self._log is not None:
                self._log.append(command)
        return result

    def _safely(self, act: Callable):
        """What a call of the host gives, on another device if this one is lost."""
        try:
            return act()
        except UnavailableError as error:
            return self._again(act, error)

    def _carry_out(self, command: tuple):
        name, *arguments = command
        return getattr(self, f"_{name}")(*arguments)

    def _new(self, buffer: int, size: int) -> int:
        self._at[buffer] = self.host.new(size)
        self._sizes[buffer] = size
        return buffer

    def _free(self, buffer: int) -> None:
        if buffer in self._at:               # else it went with a device that is lost for good
            self.host.free(self._at.pop(buffer))
        del self._sizes[buffer]

    def _write(self, buffer: int, data) -> None:
        self.host.write(self._number(buffer), data)

    def _copy(self, source: int, target: int, size: int) -> None:
        self.host.copy(self._number(source), self._number(target), size)

    def _run(self, program: int, arena: int, slots: tuple[int, ...]) -> None:
        at = self._at
        try:
            numbers = [at[n] for n in (arena, *slots)]
        except KeyError as missing:
            raise _gone() from missing
        self.host.run(self._program(program), *numbers)

    def _number(self, buffer: int) -> int:
        if buffer not in self._at:
            raise _gone()
        return self._at[buffer]

    def _program(self, program: int) -> int:
        """The host's number of a program, which is loaded when it is first needed."""
        if program not in self._there:
            loaded = self._programs[program]
            self._there[program] = self.host.load(loaded.image, loaded.graph) \
                if isinstance(self.host, Substitute) else self.host.load(loaded.image)
        return self._there[program]

    # ── the last good state ──

    def keep(self) -> None:
        """Copy what buffers hold, and begin the log anew."""
        began, self._due = monotonic(), inf
        try:
            if self._log is None:
                self._unload()
            else:
                self._copy_contents()
        finally:
            self._due = monotonic() + max(EVERY_S, SHARE * (monotonic() - began))

    def _copy_contents(self) -> None:
        before, length = (self.host.calls, self.host.submits), len(self._log or ())
        contents, changed = self._since()
        if sum(map(len, contents.values())) + sum(self._sizes[n] for n in changed) > MOST_KEPT:
            self._give_up()
            return
        try:
            found = self.host.read_many([(self._number(n), self._sizes[n]) for n in changed])
        except UnavailableError as error:
            self._again(lambda: None, error)
            return
        except (MemoryError, InternalError):
            self._give_up()                  # training goes on without
            return
        self._own = [own + now - then for own, now, then in
                     zip(self._own, (self.host.calls, self.host.submits), before)]
        # While a page waits for a read other tasks may run; then this is no state of one moment.
        if len(self._log or ()) == length:
            self._contents = contents | dict(zip(changed, found))
            self._sizes_then, self._log, self._logged = dict(self._sizes), [], 0
            self._unload()

    def _give_up(self) -> None:
        """Keep nothing from now on: a loss will be one."""
        self._contents, self._log, self._logged = {}, None, 0

    def _since(self) -> tuple[dict[int, bytes | memoryview], set[int]]:
        """Of the buffers that matter: what they hold as far as we know, and those that programs
        have written to since the last good state."""
        contents, changed = dict(self._contents), set()
        for name, *arguments in self._log or ():
            if name == "write":
                contents[arguments[0]] = arguments[1]
                changed.discard(arguments[0])
            elif name == "copy":
                changed.add(arguments[1])
            elif name == "run":
                program, _, slots = arguments
                changed.update(slots[n] for n in self._programs[program].writes)
        matter = set(self._sizes) - self.spare()
        changed &= matter
        return {n: data for n, data in contents.items() if n in matter - changed}, changed

    def _unload(self) -> None:
        """Let go of programs that nobody runs any more, now that the log does not name them."""
        ended, self._ended = self._ended, []
        for number in ended:
            del self._programs[number]
            if number in self._there:
                self.host.unload(self._there.pop(number))

    # ── a loss ──

    def _again(self, act: Callable, error: UnavailableError):
        """Come to where we were on another device, or elsewhere, and do what met the loss."""
        if self.lost:
            raise error
        if self._log is None:
            self.lost = True
            raise _gone(f"{error.what}, and with it what it held, more than could be kept as well")
        why = error.what
        for _ in range(ATTEMPTS):
            try:
                self.host.renew()
                if checked(self.host) != self.facts:
                    raise _gone("the GPU is another one now")
                self._replay()
                result = act()
            except UnavailableError as again:
                error = again
            else:
                _tell(why, "another device has taken over where it stood")
                return result
        self._substitute(error)
        _tell(why, "the CPU has taken over where it stood")
        return act()

    def _replay(self) -> None:
        self._forget_numbers()
        try:
            for buffer, size in self._sizes_then.items():
                self._new(buffer, size)
            for buffer, data in self._contents.items():
                self._write(buffer, data)
            for command in self._log or ():
                self._carry_out(command)
        except BaseException:
            self._forget_numbers()           # halfway is nowhere: the next call comes here again
            raise

    def _substitute(self, error: UnavailableError) -> None:
        """Come to where we were on another backend, which is never lost."""
        if backends.elsewhere is None:
            self.lost = True
            raise error
        self.lost, self.host = True, Substitute(self.facts, backends.elsewhere)
        self._replay()
        self._log, self._contents = None, {}


def _writes(image: Image) -> tuple[int, ...]:
    """The slots that a program writes, but for the one that it stages in."""
    slots = image.inputs + len(image.constants) + len(image.outputs)
    bound = [b for step in image.steps
             for b in ((step.target,) if isinstance(step, Copy) else step.bindings)]
    return tuple(sorted({b.buffer - 1 for b in bound if b.writes and 0 < b.buffer <= slots}))


def _gone(what: str = "a tensor lay on a GPU that was lost") -> UnavailableError:
    return UnavailableError("webgpu", what, "make the model anew, or load what was saved of it; "
                            'tf.config.set_backend("wasm") does without a GPU')


def _tell(why: str, outcome: str) -> None:
    warnings.warn(f"webgpu: {why}; {outcome}, and nothing is lost", RuntimeWarning, stacklevel=2)
