"""A host whose device is lost now and then, against one whose device never is."""

import random
import warnings
from itertools import count

import pytest
from test_interrupts import Interruption

from tensorbrook import backends
from tensorbrook.backends.webgpu import device_recovery as module
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.backends.webgpu.compiled_program import Binding, Commands, Copy, Dispatch, Image
from tensorbrook.backends.webgpu.device_recovery import RecoverableHost
from tensorbrook.base.errors import UnavailableError

SIZE = 4


def program(factor: int) -> Image:
    """slot 1 = factor * slot 1 + slot 0, then slot 2 = slot 1; slot 0 is only read."""
    slots = [Binding(1 + n, 0, SIZE, n > 0) for n in range(3)]
    steps = (Dispatch(0, (slots[0], slots[1]), (factor, 1, 1)), Copy(slots[1], slots[2]))
    commands = Commands(("shader",), ("kernel",), steps)
    return Image(commands.to_bytes(), (), 2, (("int32", 1),), {}, commands.written(3), SIZE, 0, 0)


class Paper:
    """A host of numbers; its device is lost when `left` commands have been carried out, and again
    that many after each time that another one is asked for."""

    device_info, program_cache = DeviceInfo(), None
    calls = submits = dispatches = pipelines = 0

    def __init__(self, *left):
        self.left = list(left)
        self.numbers = count(1000)
        self.buffers, self.programs = {}, {}

    def use(self):
        if self.left:
            self.left[0] -= 1
            if self.left[0] < 0:
                raise UnavailableError("webgpu", "the GPU was lost")

    def reopen_device(self):
        self.buffers, self.programs = {}, {}
        self.left.pop(0)

    def new(self, size):
        self.use()
        number = next(self.numbers)
        self.buffers[number] = 0
        return number

    def free(self, buffer):
        del self.buffers[buffer]

    def write(self, buffer, data):
        self.use()
        self.buffers[buffer] = int.from_bytes(data, "little")

    def read(self, buffer):
        self.use()
        return self.buffers[buffer].to_bytes(SIZE, "little")

    def read_many(self, which):
        return [self.read(buffer) for buffer, _ in which]

    def load(self, commands):
        self.use()
        number = next(self.numbers)
        self.programs[number] = Commands.from_bytes(commands).steps[0].groups[0]
        return number

    def unload(self, program):
        del self.programs[program]

    def wait_for_queue_space(self):
        self.use()

    def run(self, program, places, copies, then):
        self.use()
        for source, target, _ in copies:
            self.buffers[target] = self.buffers[source]
        _, x, y, z = places
        value = self.programs[program] * self.buffers[y] + self.buffers[x]
        self.buffers[y] = self.buffers[z] = value % 2**32
        then()


def seen_in(host, buffer) -> bytes:
    return host.read_many([(buffer, SIZE)])[0]


def story(host, seed: int, keep) -> list[bytes]:
    """What is read while buffers come and go; `keep` is told of a moment now and then."""
    numbers = random.Random(seed)
    buffers = [host.new(SIZE) for _ in range(4)]
    programs = [host.load(program(n)) for n in (2, 3)]
    seen = []
    for _ in range(60):
        what = numbers.randrange(9)
        if what == 0:
            buffers.append(host.new(SIZE))
            host.write(buffers[-1], numbers.randbytes(SIZE))
        elif what == 1 and len(buffers) > 4:
            host.free(buffers.pop(numbers.randrange(len(buffers))))
        elif what == 2:
            host.write(numbers.choice(buffers), numbers.randbytes(SIZE))
        elif what == 4:
            programs.append(host.load(program(numbers.randrange(2, 9))))
            host.unload(programs.pop(0))
        elif what == 5:
            seen.append(seen_in(host, numbers.choice(buffers)))
        else:
            copies = [(*numbers.sample(buffers, 2), SIZE)] * (what > 6)
            host.run(numbers.choice(programs), (buffers[0], *numbers.sample(buffers, 3)), copies)
        if numbers.random() < 0.1:
            keep()
    return seen + host.read_many([(b, SIZE) for b in buffers])


@pytest.mark.parametrize("seed", range(40))
def test_no_loss_shows(seed):
    numbers = random.Random(-1 - seed)
    right = story(RecoverableHost(Paper()), seed, lambda: None)
    host = RecoverableHost(Paper(numbers.randrange(10, 60), numbers.randrange(60), 10**9))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert story(host, seed, host.checkpoint) == right
    assert told and "the GPU was lost" in str(told[0].message)
    assert "another device has taken over" in str(told[0].message)


def test_what_is_kept_is_what_matters():
    host = RecoverableHost(Paper())
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


def after_a_run() -> tuple[Paper, RecoverableHost, list[int], int]:
    """A journal with room for all, what it writes to, and the buffers of a program that ran."""
    paper = Paper(10**9, 10**9)
    host = RecoverableHost(paper)
    buffers, run = [host.new(SIZE) for _ in range(3)], host.load(program(2))
    host.write(buffers[0], bytes([1, 0, 0, 0]))
    host.run(run, (buffers[0], *buffers))
    return paper, host, buffers, run


def test_what_other_tasks_do_while_contents_are_read_is_not_lost(monkeypatch):
    paper, host, buffers, run = after_a_run()
    read_many = paper.read_many

    def meanwhile(which):
        found = read_many(which)
        host.run(run, (buffers[0], *buffers))
        return found

    with monkeypatch.context() as waiting:
        waiting.setattr(paper, "read_many", meanwhile)
        host.checkpoint()
    right = host.read_many([(b, SIZE) for b in buffers])
    paper.left[0] = 0
    with pytest.warns(RuntimeWarning, match="nothing is lost"):
        assert host.read_many([(b, SIZE) for b in buffers]) == right


def test_programs_are_let_go_once_the_log_does_not_name_them():
    paper = Paper()
    host = RecoverableHost(paper)
    buffers, run = [host.new(SIZE) for _ in range(3)], host.load(program(2))
    host.run(run, (buffers[0], *buffers))
    host.unload(run)
    assert paper.programs
    host.checkpoint()
    assert not paper.programs and not host._programs


def test_contents_are_kept_now_and_then_but_not_for_long(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    paper = Paper()
    host = RecoverableHost(paper)
    buffers, run = [host.new(SIZE) for _ in range(3)], host.load(program(2))
    reads, read = [], paper.read

    def slow_read(buffer):
        clock[0] += 0.1
        reads.append(clock[0])
        return read(buffer)

    monkeypatch.setattr(paper, "read", slow_read)
    while clock[0] < 60:
        clock[0] += 0.01
        host.run(run, (buffers[0], *buffers))
    assert 3 * 2 < len(reads) < 60 / 0.1 / module.MAX_TIME_DIVISOR + 3      # two buffers change


@pytest.mark.parametrize("room, kept", [(4, False), (8, False), (12, True)])
def test_more_than_can_be_kept_is_lost(monkeypatch, room, kept):
    monkeypatch.setattr(module, "MAX_CHECKPOINT_BYTES", room)
    paper = Paper(10**9, 10**9)
    host = RecoverableHost(paper)
    buffers = [host.new(SIZE) for _ in range(3)]
    for buffer in buffers:
        host.write(buffer, bytes([9, 0, 0, 0]))
    host.checkpoint()
    assert seen_in(host, buffers[0])[0] == 9
    paper.left[0] = 0
    if kept:
        with pytest.warns(RuntimeWarning, match="nothing is lost"):
            assert seen_in(host, buffers[0])[0] == 9
        return
    with pytest.raises(UnavailableError, match="more than could be kept.*load what was saved"):
        seen_in(host, buffers[0])
    assert host.lost
    host.free(buffers[0])


@pytest.mark.parametrize("seed", range(10))
def test_what_was_too_much_is_kept_again_once_it_fits(monkeypatch, seed):
    """Whatever happened meanwhile, and whether the limit was too small or memory."""
    def seen(left):
        numbers, paper = random.Random(seed), Paper(*left)
        host = RecoverableHost(paper)
        with monkeypatch.context() as small:
            small.setattr(module, "MAX_CHECKPOINT_BYTES", 4)
            found = story(host, seed, host.checkpoint)
        buffers = sorted(host._sizes)
        assert host._state is None and len(buffers) > 3
        with monkeypatch.context() as small:
            small.setattr(paper, "read_many", no_memory)
            host.checkpoint()
            assert host._state is None
        host.checkpoint()
        assert host._state is not None
        paper.left[0] = numbers.randrange(30) if len(left) > 1 else paper.left[0]
        return found + story(host, seed + 1, host.checkpoint) + host.read_many(
            [(b, SIZE) for b in buffers])

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert seen([10**9, 10**9]) == seen([10**9])
    assert len(told) == 1 and "nothing is lost" in str(told[0].message)


def no_memory(which):
    raise MemoryError


@pytest.mark.parametrize("submitted", [False, True])
def test_an_interrupted_run_was_either_done_or_not(monkeypatch, submitted):
    """It comes back after a loss as the device had it."""
    paper, host, buffers, run = after_a_run()
    whole = paper.run

    def interrupted(*arguments):
        if submitted:
            whole(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(paper, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        host.run(run, (buffers[0], *buffers))
    monkeypatch.undo()
    before = host.read_many([(b, SIZE) for b in buffers])
    assert before[1][0] == (3 if submitted else 1)
    paper.left[0] = 0
    with pytest.warns(RuntimeWarning, match="nothing is lost"):
        assert host.read_many([(b, SIZE) for b in buffers]) == before


def test_an_interrupt_at_any_line_divides_nothing():
    """Neither a command from its entry, nor what is kept from the log, nor the way back."""
    def told(n=0):
        paper, host, buffers, run = after_a_run()
        with (interruption := Interruption(n, module.__file__)):
            host.run(run, (buffers[0], *buffers))
            host.checkpoint()
            paper.left[0] = 3                # which is met by what comes next, and on the way back
            host.run(run, (buffers[0], *buffers), [(buffers[1], buffers[2], SIZE)])
        device = [paper.buffers.get(host._at.get(b)) for b in buffers]
        paper.left[0] = min(paper.left[0], 0)
        paper.left += [10**9]
        found = [int.from_bytes(data, "little") for data in host.read_many(
            [(b, SIZE) for b in buffers])]
        return interruption.n, device if None not in device and host._consistent else found, found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        n, left, seen = 0, 0, []
        while left <= 0:
            n += 1
            left, device, found = told(n)
            assert device == found, f"line {n}"
            seen.append(found[1])
    assert n > 100 and sorted(set(seen)) == [1, 3, 7]


def test_where_no_device_and_no_other_backend_is(monkeypatch):
    monkeypatch.setattr(backends, "load_on_fallback", None)
    host = RecoverableHost(Paper(1, 0, 0, 0))
    first = host.new(SIZE)
    with pytest.raises(UnavailableError, match="the GPU was lost"):
        host.new(SIZE)
    assert host.lost
    host.free(first)                         # as what nobody holds any more is, at any time


def test_an_interrupt_on_the_way_back_is_not_the_end(monkeypatch):
    paper = Paper(9, 10**9)
    host = RecoverableHost(paper)
    buffers = [host.new(SIZE) for _ in range(4)]
    write, written = paper.write, []

    def interrupted(buffer, data):
        if len(written) == 6:
            written.append(None)
            raise KeyboardInterrupt
        written.append(data)
        write(buffer, data)

    monkeypatch.setattr(paper, "write", interrupted)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        for n, buffer in enumerate(buffers):
            host.write(buffer, bytes([n, 0, 0, 0]))
        with pytest.raises(KeyboardInterrupt):
            for buffer in buffers * 5:
                seen_in(host, buffer)
        assert [seen_in(host, b)[0] for b in buffers] == [0, 1, 2, 3]
