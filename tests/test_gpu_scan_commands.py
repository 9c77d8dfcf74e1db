"""The commands of scans on a GPU: the host prepares and sends each distinct command once."""
import re
from types import SimpleNamespace

import pytest

import backends
import tensorbrook as tf
from call_counting import PYTHON_CALLS, count_calls
from tensorbrook.backends.webgpu import command_builder, target_info
from tensorbrook.backends.webgpu.command_builder import compile_plan
from tensorbrook.backends.webgpu.compiled_program import Binding, Commands, Copy, Dispatch
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.eager import EAGER
from tensorbrook.ops.control_flow import scan_loop
from tensorbrook.placement import plan_for, simplify_for

DEVICE = DeviceInfo()


def compiled(f, *args):
    target = SimpleNamespace(target=target_info(DEVICE))
    graph = simplify_for(tf.function(f).get_concrete_function(*args).graph, target)
    return plan_for(graph, target)


def repeated(n):
    """A loop that has only a state: its iterations alternate between two buffers."""
    return compiled(lambda h, w: scan_loop(lambda h, _: (tf.tanh(tf.matmul(h, w)), ()), h,
                                           (), n)[0], tf.ones((4, 8)), tf.ones((8, 8)))


def sliced(n):
    """A loop over the slices of an array, which stacks its results."""
    def step(h, x):
        h = tf.tanh(tf.matmul(h, tf.ones((64, 64))) + x)
        return h, h
    return compiled(lambda h, x: scan_loop(step, h, x)[1], tf.ones((4, 64)), tf.ones((n, 4, 64)))


PLANS = {"repeated": repeated, "sliced": sliced}


def commands_of(plan) -> Commands:
    return Commands.from_bytes(compile_plan(plan, DEVICE).commands)


@pytest.mark.parametrize("name", PLANS)
def test_equal_steps_are_one_object(name):
    steps = commands_of(PLANS[name](40)).steps
    assert len({id(step) for step in steps}) == len(set(steps))


def test_the_distinct_commands_of_a_repeated_loop_do_not_depend_on_its_length():
    short, long = (commands_of(repeated(n)) for n in (40, 400))
    assert len(long.steps) - len(short.steps) >= 360
    assert len(set(long.steps)) == len(set(short.steps))
    assert len(long.shaders) == len(short.shaders)


@pytest.mark.parametrize("name, bytes_per_step", [("repeated", 4), ("sliced", 100)])
def test_each_iteration_adds_few_bytes(name, bytes_per_step):
    short, long = (compile_plan(PLANS[name](n), DEVICE).commands for n in (40, 240))
    steps = len(Commands.from_bytes(long).steps) - len(Commands.from_bytes(short).steps)
    assert steps >= 200 and len(long) - len(short) <= bytes_per_step * steps


@pytest.mark.parametrize("name", PLANS)
def test_a_shader_is_parsed_once_per_kernel(name, monkeypatch):
    """The number of searches in shader code does not depend on the number of iterations."""
    searches = []
    pattern = command_builder.DECLARATION
    monkeypatch.setattr(command_builder, "DECLARATION", SimpleNamespace(
        findall=lambda code: searches.append(code) or pattern.findall(code), sub=pattern.sub))
    counts = []
    for n in (40, 240):
        searches.clear()
        compile_plan(PLANS[name](n), DEVICE)
        counts.append(len(searches))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("name", PLANS)
def test_compilation_is_linear_in_the_number_of_iterations(name):
    calls = [count_calls(compile_plan, PLANS[name](n), DEVICE, events=PYTHON_CALLS)
             for n in (40, 240, 440)]
    assert calls[2] - calls[1] == pytest.approx(calls[1] - calls[0], rel=0.05)
    assert calls[1] - calls[0] <= 200 * 150


def test_the_host_creates_a_bind_group_for_each_distinct_dispatch():
    x = tf.ones((2, 3))
    with backends.on("webgpu"):
        counts = []
        for n in (30, 90):
            step = tf.function(lambda h, n=n: scan_loop(
                lambda h, _: (tf.sin(h) + tf.reverse(h, [0]), ()), h, (), n)[0])
            step(x)
            host = EAGER.backend.host.host
            loaded = host._programs[max(host._programs)]
            counts.append((len(loaded.distinct_steps), sum(map(len, loaded.bind_groups.values()))))
            assert loaded.dispatches >= n
        assert counts[0] == counts[1]
        assert counts[0][1] <= counts[0][0] <= 6


def test_commands_survive_serialization():
    a, b, c = Binding(0, 0, 64, True), Binding(3, 256, 16, False), Binding(3, 256, 16, True)
    steps = (Dispatch(0, (a, b), (4, 1, 1)), Copy(a, b), Dispatch(1, (c,), (1, 2, 3)),
             Dispatch(0, (a, b), (4, 1, 1)), Dispatch(1, (), (1, 1, 1)), Copy(b, a), Copy(a, b))
    commands = Commands(("fn \n ü", "fn b"), ("a", "b"), steps, 32)
    data = commands.to_bytes()
    assert Commands.from_bytes(data) == commands and b"\n" not in data
    assert Commands.from_bytes(Commands((), (), ()).to_bytes()) == Commands((), (), ())
    assert not re.search(rb"\s", re.sub(rb'"(\\.|[^"\\])*"', b"", data))
