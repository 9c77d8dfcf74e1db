"""Device recovery: losing the device changes no result of a recoverable host."""

import random
import warnings
from itertools import count

import pytest
from test_interrupts import Interruption

from tensorbrook import backends
from tensorbrook.backends.webgpu import device_recovery
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.backends.webgpu.compiled_program import (Binding, Commands, CompiledProgram, Copy,
                                                          Dispatch)
from tensorbrook.backends.webgpu.device_recovery import RecoverableHost
from tensorbrook.base.errors import UnavailableError

SIZE = 4


def program(factor: int) -> CompiledProgram:
    """slot 1 = factor * slot 1 + slot 0, then slot 2 = slot 1; slot 0 is only read."""
    slots = [Binding(1 + n, 0, SIZE, n > 0) for n in range(3)]
    steps = (Dispatch(0, (slots[0], slots[1]), (factor, 1, 1)), Copy(slots[1], slots[2]))
    commands = Commands(("shader",), ("kernel",), steps)
    return CompiledProgram(commands.to_bytes(), (), 2, (("int32", 1),), {},
                           commands.written_slots(3), SIZE, 0, 0)


class FakeHost:
    """A host with one integer per buffer, which loses its device after some commands.

    `lifetimes` has the number of commands until the first device is lost, and until each following
    device is lost.
    """

    device_info, program_cache = DeviceInfo(), None
    calls = submits = dispatches = pipelines = 0

    def __init__(self, *lifetimes):
        self.lifetimes = list(lifetimes)
        self.handles = count(1000)
        self.buffers, self.programs = {}, {}

    def use(self):
        if self.lifetimes:
            self.lifetimes[0] -= 1
            if self.lifetimes[0] < 0:
                raise UnavailableError("webgpu", "the GPU was lost")

    def reopen_device(self):
        self.buffers, self.programs = {}, {}
        self.lifetimes.pop(0)

    def new(self, size):
        self.use()
        handle = next(self.handles)
        self.buffers[handle] = 0
        return handle

    def free(self, buffer):
        del self.buffers[buffer]

    def write(self, buffer, data):
        self.use()
        self.buffers[buffer] = int.from_bytes(data, "little")

    def read(self, buffer):
        self.use()
        return self.buffers[buffer].to_bytes(SIZE, "little")

    def read_many(self, requests):
        return [self.read(buffer) for buffer, _ in requests]

    def load(self, commands):
        self.use()
        handle = next(self.handles)
        self.programs[handle] = Commands.from_bytes(commands).steps[0].groups[0]
        return handle

    def unload(self, program):
        del self.programs[program]

    def wait_for_queue_space(self):
        self.use()

    def run(self, program, buffers, copies, then):
        self.use()
        for source, target, _ in copies:
            self.buffers[target] = self.buffers[source]
        _, x, y, z = buffers
        value = self.programs[program] * self.buffers[y] + self.buffers[x]
        self.buffers[y] = self.buffers[z] = value % 2**32
        then()


def contents_of(host, buffer) -> bytes:
    return host.read_many([(buffer, SIZE)])[0]


def run_random_commands(host, seed: int, checkpoint) -> list[bytes]:
    """Run random commands, with `checkpoint()` between some of them; return all data read."""
    rng = random.Random(seed)
    buffers = [host.new(SIZE) for _ in range(4)]
    programs = [host.load(program(n)) for n in (2, 3)]
    data = []
    for _ in range(60):
        command = rng.randrange(9)
        if command == 0:
            buffers.append(host.new(SIZE))
            host.write(buffers[-1], rng.randbytes(SIZE))
        elif command == 1 and len(buffers) > 4:
            host.free(buffers.pop(rng.randrange(len(buffers))))
        elif command == 2:
            host.write(rng.choice(buffers), rng.randbytes(SIZE))
        elif command == 4:
            programs.append(host.load(program(rng.randrange(2, 9))))
            host.unload(programs.pop(0))
        elif command == 5:
            data.append(contents_of(host, rng.choice(buffers)))
        else:
            copies = [(*rng.sample(buffers, 2), SIZE)] * (command > 6)
            host.run(rng.choice(programs), (buffers[0], *rng.sample(buffers, 3)), copies)
        if rng.random() < 0.1:
            checkpoint()
    return data + host.read_many([(b, SIZE) for b in buffers])


@pytest.mark.parametrize("seed", range(40))
def test_a_lost_device_changes_no_result(seed):
    rng = random.Random(-1 - seed)
    expected = run_random_commands(RecoverableHost(FakeHost()), seed, lambda: None)
    host = RecoverableHost(FakeHost(rng.randrange(10, 60), rng.randrange(60), 10**9))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert run_random_commands(host, seed, host.checkpoint) == expected
    assert caught and "the GPU was lost" in str(caught[0].message)
    assert "another device has taken over" in str(caught[0].message)


def test_a_checkpoint_has_the_contents_of_live_buffers_only():
    host = RecoverableHost(FakeHost())
    x, y, z, copied, idle, arena = (host.new(SIZE) for _ in range(6))
    host.unused_buffers = lambda: {idle, arena}
    run = host.load(program(2))
    for buffer in (x, y, idle):
        host.write(buffer, bytes([7, 0, 0, 0]))
    host.run(run, (arena, x, y, z), [(x, copied, SIZE)])
    before = host.calls
    host.checkpoint()
    assert host._state.contents == {x: bytes([7, 0, 0, 0]), y: bytes([21, 0, 0, 0]),
                                    z: bytes([21, 0, 0, 0]), copied: bytes([7, 0, 0, 0])}
    assert host._state.log == [] and host.calls == before
    host.free(copied)
    host.free(z)
    host.write(y, bytes(SIZE))
    host.checkpoint()
    assert host._state.contents == {x: bytes([7, 0, 0, 0]), y: bytes(SIZE)}


def after_a_run() -> tuple[FakeHost, RecoverableHost, list[int], int]:
    """(inner host, recoverable host, buffers, program) after one run of the program."""
    inner = FakeHost(10**9, 10**9)
    host = RecoverableHost(inner)
    buffers, run = [host.new(SIZE) for _ in range(3)], host.load(program(2))
    host.write(buffers[0], bytes([1, 0, 0, 0]))
    host.run(run, (buffers[0], *buffers))
    return inner, host, buffers, run


def test_commands_during_a_checkpoint_are_not_lost(monkeypatch):
    inner, host, buffers, run = after_a_run()
    read_many = inner.read_many

    def read_and_run(requests):
        data = read_many(requests)
        host.run(run, (buffers[0], *buffers))
        return data

    with monkeypatch.context() as patch:
        patch.setattr(inner, "read_many", read_and_run)
        host.checkpoint()
    expected = host.read_many([(b, SIZE) for b in buffers])
    inner.lifetimes[0] = 0
    with pytest.warns(RuntimeWarning, match="nothing is lost"):
        assert host.read_many([(b, SIZE) for b in buffers]) == expected


def test_unloaded_programs_are_freed_when_the_log_is_truncated():
    inner = FakeHost()
    host = RecoverableHost(inner)
    buffers, run = [host.new(SIZE) for _ in range(3)], host.load(program(2))
    host.run(run, (buffers[0], *buffers))
    host.unload(run)
    assert inner.programs
    host.checkpoint()
    assert not inner.programs and not host._programs


def test_checkpoints_are_regular_and_take_a_limited_share_of_time(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(device_recovery, "monotonic", lambda: clock[0])
    inner = FakeHost()
    host = RecoverableHost(inner)
    buffers, run = [host.new(SIZE) for _ in range(3)], host.load(program(2))
    reads, read = [], inner.read

    def slow_read(buffer):
        clock[0] += 0.1
        reads.append(clock[0])
        return read(buffer)

    monkeypatch.setattr(inner, "read", slow_read)
    while clock[0] < 60:
        clock[0] += 0.01
        host.run(run, (buffers[0], *buffers))
    # Two buffers change between checkpoints.
    assert 3 * 2 < len(reads) < 60 / 0.1 / device_recovery.MAX_TIME_DIVISOR + 3


@pytest.mark.parametrize("limit, fits", [(4, False), (8, False), (12, True)])
def test_contents_over_the_checkpoint_limit_are_lost(monkeypatch, limit, fits):
    monkeypatch.setattr(device_recovery, "MAX_CHECKPOINT_BYTES", limit)
    inner = FakeHost(10**9, 10**9)
    host = RecoverableHost(inner)
    buffers = [host.new(SIZE) for _ in range(3)]
    for buffer in buffers:
        host.write(buffer, bytes([9, 0, 0, 0]))
    host.checkpoint()
    assert contents_of(host, buffers[0])[0] == 9
    inner.lifetimes[0] = 0
    if fits:
        with pytest.warns(RuntimeWarning, match="nothing is lost"):
            assert contents_of(host, buffers[0])[0] == 9
        return
    with pytest.raises(UnavailableError, match="too large for a checkpoint.*load a saved one"):
        contents_of(host, buffers[0])
    assert host.lost
    host.free(buffers[0])


@pytest.mark.parametrize("seed", range(10))
def test_checkpoints_resume_once_the_contents_fit(monkeypatch, seed):
    """After any commands without a checkpoint, and after a checkpoint that ran out of memory."""
    def run_all(lifetimes):
        rng, inner = random.Random(seed), FakeHost(*lifetimes)
        host = RecoverableHost(inner)
        with monkeypatch.context() as patch:
            patch.setattr(device_recovery, "MAX_CHECKPOINT_BYTES", 4)
            data = run_random_commands(host, seed, host.checkpoint)
        buffers = sorted(host._sizes)
        assert host._state is None and len(buffers) > 3
        with monkeypatch.context() as patch:
            patch.setattr(inner, "read_many", raise_memory_error)
            host.checkpoint()
            assert host._state is None
        host.checkpoint()
        assert host._state is not None
        if len(lifetimes) > 1:
            inner.lifetimes[0] = rng.randrange(30)
        return data + run_random_commands(host, seed + 1, host.checkpoint) + host.read_many(
            [(b, SIZE) for b in buffers])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert run_all([10**9, 10**9]) == run_all([10**9])
    assert len(caught) == 1 and "nothing is lost" in str(caught[0].message)


def raise_memory_error(requests):
    raise MemoryError


@pytest.mark.parametrize("submitted", [False, True])
def test_an_interrupted_run_is_atomic(monkeypatch, submitted):
    """Recovery restores the contents that the lost device had."""
    inner, host, buffers, run = after_a_run()
    submit = inner.run

    def interrupted(*arguments):
        if submitted:
            submit(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(inner, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        host.run(run, (buffers[0], *buffers))
    monkeypatch.undo()
    before = host.read_many([(b, SIZE) for b in buffers])
    assert before[1][0] == (3 if submitted else 1)
    inner.lifetimes[0] = 0
    with pytest.warns(RuntimeWarning, match="nothing is lost"):
        assert host.read_many([(b, SIZE) for b in buffers]) == before


def test_an_interrupt_at_any_line_leaves_a_consistent_state():
    """A command and its log entry, a checkpoint and its log, and recovery are atomic."""
    def interrupt_at(n):
        inner, host, buffers, run = after_a_run()
        with (interruption := Interruption(n, device_recovery.__file__)):
            host.run(run, (buffers[0], *buffers))
            host.checkpoint()
            inner.lifetimes[0] = 3           # lost in the next run, so that recovery is interrupted
            host.run(run, (buffers[0], *buffers), [(buffers[1], buffers[2], SIZE)])
        device = [inner.buffers.get(host._host_buffers.get(b)) for b in buffers]
        inner.lifetimes[0] = min(inner.lifetimes[0], 0)
        inner.lifetimes += [10**9]
        restored = [int.from_bytes(data, "little") for data in host.read_many(
            [(b, SIZE) for b in buffers])]
        is_valid = None not in device and host._consistent
        return interruption.n, device if is_valid else restored, restored

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        n, lines_left, values = 0, 0, set()
        while lines_left <= 0:
            n += 1
            lines_left, device, restored = interrupt_at(n)
            assert device == restored, f"line {n}"
            values.add(restored[1])
    assert n > 100 and values == {1, 3, 7}


def test_without_another_device_and_backend_the_error_is_raised(monkeypatch):
    monkeypatch.setattr(backends, "load_on_fallback", None)
    host = RecoverableHost(FakeHost(1, 0, 0, 0))
    first = host.new(SIZE)
    with pytest.raises(UnavailableError, match="the GPU was lost"):
        host.new(SIZE)
    assert host.lost
    host.free(first)                         # finalizers may free buffers at any time


def test_an_interrupted_recovery_is_repeated(monkeypatch):
    inner = FakeHost(9, 10**9)
    host = RecoverableHost(inner)
    buffers = [host.new(SIZE) for _ in range(4)]
    write, written = inner.write, []

    def interrupted(buffer, data):
        if len(written) == 6:
            written.append(None)
            raise KeyboardInterrupt
        written.append(data)
        write(buffer, data)

    monkeypatch.setattr(inner, "write", interrupted)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        for n, buffer in enumerate(buffers):
            host.write(buffer, bytes([n, 0, 0, 0]))
        with pytest.raises(KeyboardInterrupt):
            for buffer in buffers * 5:
                contents_of(host, buffer)
        assert [contents_of(host, b)[0] for b in buffers] == [0, 1, 2, 3]
