"""Backend webgpu: how programs are placed, what is written over what, which buffers come back."""
import gc
import re

import numpy as np
import pytest

import tensorbrook as tf
from backends import minimal_gpu, on
from golden_programs import PROGRAMS
from tensorbrook.backends.webgpu import readback, host_wgpu, target_info, to_device_layout
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.backends.webgpu.host_wgpu import MAX_BIND_GROUPS
from tensorbrook.backends.webgpu.compiled_program import (Binding, Commands, CompiledProgram, Copy,
                                                          Dispatch)
from tensorbrook.backends.webgpu.buffer_pool import size_class
from tensorbrook.backends.webgpu.command_builder import compile_plan
from tensorbrook.base.host_array import from_python
from tensorbrook.compiler import lower, optimize
from tensorbrook.ir import Plan
from tensorbrook.ops.control_flow import scan_loop

# What the standard promises of every device, and one that asks for more room between bindings.
DEVICES = (DeviceInfo(), DeviceInfo(storage_buffers=10, offset_alignment=32, min_subgroup_size=4,
                                    f16=True))


@pytest.fixture(autouse=True, scope="module")
def gpu():
    with on("webgpu"):
        yield


def planned(name: str, device_info: DeviceInfo) -> Plan:
    make = PROGRAMS[name]
    f, arguments = make()
    graph = optimize(tf.function(f).get_concrete_function(*arguments).graph)
    target = target_info(device_info)
    return lower(graph, target)


@pytest.mark.parametrize("device_info", DEVICES, ids=("least", "more"))
@pytest.mark.parametrize("name", PROGRAMS)
def test_bindings_are_what_a_device_takes(name, device_info):
    made = planned(name, device_info)
    image = compile_plan(made, device_info)
    sizes = {0: image.arena_size, 1 + made.slots - made.rotating_slots: image.staging_bytes}
    for step in image.steps:
        for b in step.bindings if isinstance(step, Dispatch) else (step.source, step.target):
            alignment = device_info.offset_alignment if isinstance(step, Dispatch) else 4
            assert b.offset % alignment == 0
            assert b.offset + b.size <= sizes.get(b.buffer, 1 << 40), f"{b} leaves its buffer"
        if isinstance(step, Dispatch):
            assert len(step.bindings) <= device_info.storage_buffers
            assert max(step.groups) <= device_info.max_workgroups
            written = {b.buffer for b in step.bindings if b.writes}
            assert all(b.writes for b in step.bindings if b.buffer in written), \
                "a buffer is bound in one way"


def test_folds_of_two_types_find_room_in_a_workgroup():
    """Sixteen folds in two stages, which keep what they fold apart."""
    def f(x):
        sums = [tf.reduce_sum(tf.abs(x - float(k)), 1, keepdims=True) for k in range(8)]
        i = tf.cast(x * tf.add_n(sums), tf.int32)
        return tf.add_n([tf.reduce_sum(tf.bitwise.bitwise_xor(i, k), 1) for k in range(8)])

    x = np.random.default_rng(0).integers(-9, 9, (4, 1024)).astype(np.float32)
    device_info = DeviceInfo()
    graph = optimize(tf.function(f).get_concrete_function(tf.constant(x)).graph)
    shader, = compile_plan(lower(graph, target_info(device_info)), device_info).shaders
    cells = re.findall(r"^var<workgroup> \w+: array<[fi]32, (\d+)>", shader, re.M)
    assert len(cells) == 32 and 4 * sum(map(int, cells)) <= device_info.workgroup_bytes
    with minimal_gpu():
        found = tf.function(f)(x).numpy()
    with on("reference"):
        np.testing.assert_array_equal(found, f(x).numpy())


def test_an_image_survives_as_bytes():
    bindings = (Binding(0, 256, 64, True), Binding(3, 0, 16, True), Binding(2, 0, 16, False))
    steps = (Dispatch(0, bindings, (7, 2, 1)), Copy(*bindings[:2]),
             Dispatch(1, bindings, (1, 1, 1)))
    commands = Commands(("fn a\n", "fn b"), ("a", "b"), steps, 32)
    image = CompiledProgram(commands.to_bytes(), (("float32", b"\0\1\n\3"), ("bool", b"\1")), 2,
                            (("int32", 5),), {0: 1}, commands.written_slots(5), 512, 256, 4711,
                            ((0,), (1, 2)), 32)
    assert image.written_slots == (2,) and commands.written_slots(2) == ()
    assert CompiledProgram.from_bytes(image.to_bytes()) == image
    assert Commands.from_bytes(image.commands) == commands


@pytest.mark.parametrize("dtype, data, there", [
    ("float32", b"abcd", b"abcd"), ("uint8", b"\x01\xff", b"\x01\0\0\0\xff\0\0\0"),
    ("bool", b"", b""), ("float16", b"ab", b"ab\0\0")])
def test_elements_are_widened_to_words(dtype, data, there):
    assert bytes(to_device_layout(data, dtype)) == there


def test_whoever_holds_the_old_value_keeps_it():
    v = tf.Variable(np.arange(1000, dtype=np.float32))
    step = tf.function(lambda: v.assign_add(v * 2.0))
    step()
    before = v.value()
    step()
    np.testing.assert_array_equal(np.asarray(before), 3 * np.arange(1000))
    np.testing.assert_array_equal(np.asarray(v), 9 * np.arange(1000))


def test_a_variable_is_written_where_it_lies():
    v = tf.Variable(np.zeros(1000, np.float32))
    step = tf.function(lambda: v.assign_add(tf.ones(1000)))
    step()
    number = v.storage.handle
    step()
    assert v.storage.handle == number
    assert np.asarray(v).tolist() == [2.0] * 1000


def test_one_tensor_may_stand_in_many_places():
    x = np.random.default_rng(0).normal(size=(12, 12)).astype(np.float32)

    def f(a, b):
        square = tf.tanh(a) + b                    # in the arena, where it meets itself
        return tf.matmul(square, square), square * square + a, tf.concat([square, square], 0)

    t = tf.constant(x)
    found = tf.function(f)(t, t)
    with on("reference"):
        right = f(tf.constant(x), tf.constant(x))
    for a, e in zip(found, right):
        np.testing.assert_allclose(np.asarray(a), np.asarray(e), rtol=0, atol=1e-5)


@pytest.mark.parametrize("width", [1, 3, 64])
@pytest.mark.parametrize("reverse", [False, True])
def test_turns_find_pieces_that_begin_anywhere(width, reverse):
    x = np.random.default_rng(1).normal(size=(7, 2, width)).astype(np.float32)

    def f(xs):
        return scan_loop(lambda s, p: (tf.tanh(s + p), s * p), tf.zeros((2, width)), xs,
                       reverse=reverse)

    last, ys = tf.function(f)(tf.constant(x))
    with on("reference"):
        right = f(tf.constant(x))
    for a, e in zip((last, ys), right):
        np.testing.assert_allclose(np.asarray(a), np.asarray(e), rtol=0, atol=1e-5)


@pytest.mark.parametrize("made", [lambda x: x, lambda x: tf.cumsum(x, axis=0)])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_turn_reads_a_piece_and_the_whole_of_it(made, reverse):
    """The whole is an input, or lies in the arena, where the result lies too."""
    x = np.arange(1, 321, dtype=np.float32).reshape(5, 64) / 1000

    def f(x):
        x = made(x)
        return tf.scan(lambda sum, e: sum + tf.reduce_sum(e * x * sum[0], axis=0), x,
                       initializer=tf.ones(64), reverse=reverse)

    with on("reference"):
        right = f(x).numpy()
    np.testing.assert_allclose(tf.function(f)(x).numpy(), right, rtol=1e-5)


def test_turns_in_turns_read_pieces_and_the_whole():
    x = np.random.default_rng(2).normal(size=(3, 2, 64)).astype(np.float32)

    def f(x):
        x = tf.cumsum(x, axis=0)

        def rows(sum, row):
            return tf.scan(lambda s, e: tf.tanh(s + tf.reduce_sum(e * x, axis=(0, 1))), row,
                           initializer=sum)[-1]

        return tf.scan(rows, x, initializer=tf.ones(64))

    with on("reference"):
        right = f(x).numpy()
    np.testing.assert_allclose(tf.function(f)(x).numpy(), right, rtol=1e-5, atol=1e-5)


def test_a_matrix_times_itself_in_another_shape():
    x = np.random.default_rng(3).normal(size=(130, 256)).astype(np.float32)

    def f(x):
        x = tf.cumsum(x)
        return tf.cumsum(tf.matmul(x, tf.reshape(x, (256, 130))))

    with on("reference"):
        right = f(x).numpy()
    np.testing.assert_allclose(tf.function(f)(x).numpy(), right, rtol=0,
                               atol=1e-6 * np.abs(right).max())


def test_buffers_come_back():
    backend = tf.zeros(1).storage.backend
    gc.collect()
    data = from_python(np.zeros(300_000, np.float32))
    held = backend.upload(data)
    calls, in_use, number = backend.host.calls, backend.memory.in_use, held.handle
    del held
    again = backend.upload(data)                      # in the same buffer: written, not made
    assert (again.handle, backend.host.calls, backend.memory.in_use) == (number, calls + 1, in_use)
    assert backend.memory.peak >= backend.memory.in_use


def test_what_lies_idle_goes_while_contents_are_kept(monkeypatch):
    backend = tf.zeros(1).storage.backend
    memory, host, spare = backend.memory, backend.host, backend.host.unused_buffers
    monkeypatch.setattr("tensorbrook.backends.webgpu.buffer_pool.MAX_IDLE_BYTES", 0)
    held = tf.constant(np.arange(7, dtype=np.float32)) + 1.0
    before = memory.in_use
    memory.trim()
    memory._free.clear()                           # what comes first there is gone through first
    late = [memory.acquire(3 << 19)]

    def spared():
        memory.release(*late.pop())              # somebody lets go of something meanwhile
        return spare()

    for size in (1 << 16, 1 << 17) * 3 + (memory.in_use + (1 << 20),):
        memory.release(*memory.acquire(size))
    monkeypatch.setattr(host, "unused_buffers", spared)
    monkeypatch.setattr(host, "_due", 0.0)         # so the first that goes meets it
    memory.release(*memory.acquire(5000))
    assert not late
    assert (memory.in_use, memory.idle_bytes) == (before, size_class(5000) + size_class(3 << 19))
    memory.release(*memory.acquire(3 << 19))
    assert memory.idle_bytes == sum(size * len(numbers) for size, numbers in memory._free.items())
    np.testing.assert_array_equal(held.numpy(), np.arange(7) + 1.0)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 4096, 5000, 1 << 20, (1 << 20) + 1])
def test_capacities_waste_an_eighth_at_most(size):
    assert size <= size_class(size) <= max(size + 255, size * 1.13)


def test_what_does_not_fit_is_told():
    before = tf.constant([1.0, 2.0])
    with pytest.raises(tf.errors.ResourceExhaustedError, match="use a smaller batch or model"):
        tf.zeros((1 << 17, 1 << 14))
    assert (before + 1.0).tolist() == [2.0, 3.0]


@pytest.mark.parametrize("dtype", ["float64"])
def test_what_the_gpu_cannot_compute_is_refused(dtype):
    with pytest.raises(tf.errors.UnimplementedError, match="cannot compute float64; use tf.cast"):
        tf.constant([1.0], dtype) + 1.0


def test_two_runs_are_in_flight_at_most():
    v = tf.Variable(np.zeros((64, 64), np.float32))
    step = tf.function(lambda: v.assign_add(tf.ones((64, 64))))
    host = v.storage.backend.host.host
    for _ in range(20):
        step()
        assert len(host._in_flight) <= 2
    assert float(v[0, 0]) == 20.0


def test_bind_groups_live_as_long_as_what_is_bound_with_them():
    """A step's group may be let go while steps kept for other buffers use it yet."""
    with on("webgpu"):
        v, w = tf.Variable([1.0, 2.0, 3.0]), tf.Variable([[0.0] * 7] * 5)
        xs = [tf.Variable([float(i)] * 3).value() for i in range(20)]
        ys = [tf.Variable([[float(i)] * 7] * 5).value() for i in range(3)]

        @tf.function
        def step(x, y):
            v.assign_add(x)
            w.assign_add(y)

        calls = [(i, 0) for i in range(MAX_BIND_GROUPS)] + [(0, 1), (MAX_BIND_GROUPS, 0), (0, 1)]
        for i, j in calls:
            step(xs[i], ys[j])
            gc.collect()
        added = sum(i for i, _ in calls)
        assert v.tolist() == [1.0 + added, 2.0 + added, 3.0 + added] and w.tolist()[4][6] == 2.0


def test_more_than_a_device_binds_is_refused():
    small = DeviceInfo(binding_bytes=1 << 20)
    f = tf.function(lambda x, i: tf.gather(x * 2.0, i))
    arguments = tf.zeros((600, 512)), tf.zeros((4,), tf.int32)
    graph = optimize(f.get_concrete_function(*arguments).graph)
    made = lower(graph, target_info(small))
    with pytest.raises(tf.errors.ResourceExhaustedError) as caught:
        compile_plan(made, small)
    assert str(caught.value) == (
        "multiply: it needs 1.2 MB in one buffer and the GPU binds at most 1 MB; use a smaller "
        'batch or model, or tf.device("/CPU:0")')


def test_pipelines_are_kept_up_to_a_number(monkeypatch):
    monkeypatch.setattr(host_wgpu, "MAX_PIPELINES", 3)
    host = host_wgpu.Host()
    code = ("@group(0) @binding(0) var<storage, read_write> x: array<f32>; "
            "@compute @workgroup_size(1) fn main() { x[0] = %d.0; }")
    for n in (0, 1, 2, 3, 3, 2, 1, 4):
        host._pipeline(code % n, (True,))
    assert host.pipelines == 5 and [int(key[0][-6]) for key in host._pipelines] == [2, 3, 4]
    host.close()


@pytest.mark.parametrize("limit, submits", [(1 << 30, 1), (40, 2), (12, 6)])
def test_many_buffers_are_read_at_once(limit, submits, monkeypatch):
    monkeypatch.setattr(readback, "MAX_STAGING_BYTES", limit)
    host, sizes = host_wgpu.Host(), [16, 4, 32, 8]
    buffers = [host.new(size) for size in sizes]
    for n, (buffer, size) in enumerate(zip(buffers, sizes)):
        host.write(buffer, bytes(range(n, n + size)))
    right = [bytes(range(n, n + size)) for n, size in enumerate(sizes)]
    assert host.read_many(list(zip(buffers, sizes))) == right
    assert host.read_many([]) == [] and host.submits == submits
    host.close()
