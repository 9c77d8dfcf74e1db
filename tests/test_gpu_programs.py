"""Compiled GPU programs: bindings, aliased buffers, scans, the buffer pool, limits, readback."""
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

# The minimum limits of the standard, and a device with another offset alignment and more features.
DEVICES = (DeviceInfo(), DeviceInfo(storage_buffers=10, offset_alignment=32, min_subgroup_size=4,
                                    f16=True))


@pytest.fixture(autouse=True, scope="module")
def gpu():
    with on("webgpu"):
        yield


def planned(name: str, device_info: DeviceInfo) -> Plan:
    f, arguments = PROGRAMS[name]()
    graph = optimize(tf.function(f).get_concrete_function(*arguments).graph)
    target = target_info(device_info)
    return lower(graph, target)


@pytest.mark.parametrize("device_info", DEVICES, ids=("minimal", "larger"))
@pytest.mark.parametrize("name", PROGRAMS)
def test_bindings_respect_the_limits_of_the_device(name, device_info):
    plan = planned(name, device_info)
    compiled = compile_plan(plan, device_info)
    sizes = {0: compiled.arena_size,
             1 + plan.slots - plan.rotating_slots: compiled.staging_bytes}
    for step in compiled.steps:
        for b in step.bindings if isinstance(step, Dispatch) else (step.source, step.target):
            alignment = device_info.offset_alignment if isinstance(step, Dispatch) else 4
            assert b.offset % alignment == 0
            assert b.offset + b.size <= sizes.get(b.buffer, 1 << 40), f"{b} is out of bounds"
        if isinstance(step, Dispatch):
            assert len(step.bindings) <= device_info.storage_buffers
            assert max(step.groups) <= device_info.max_workgroups
            written = {b.buffer for b in step.bindings if b.writes}
            assert all(b.writes for b in step.bindings if b.buffer in written), \
                "a buffer is bound both as read and as read_write"


def test_reductions_of_two_types_fit_into_workgroup_memory():
    """Sixteen reductions in two passes, each with its own variables in workgroup memory."""
    def f(x):
        sums = [tf.reduce_sum(tf.abs(x - float(k)), 1, keepdims=True) for k in range(8)]
        i = tf.cast(x * tf.add_n(sums), tf.int32)
        return tf.add_n([tf.reduce_sum(tf.bitwise.bitwise_xor(i, k), 1) for k in range(8)])

    x = np.random.default_rng(0).integers(-9, 9, (4, 1024)).astype(np.float32)
    device_info = DeviceInfo()
    graph = optimize(tf.function(f).get_concrete_function(tf.constant(x)).graph)
    shader, = compile_plan(lower(graph, target_info(device_info)), device_info).shaders
    lengths = re.findall(r"^var<workgroup> \w+: array<[fi]32, (\d+)>", shader, re.M)
    assert len(lengths) == 32 and 4 * sum(map(int, lengths)) <= device_info.workgroup_bytes
    with minimal_gpu():
        actual = tf.function(f)(x).numpy()
    with on("reference"):
        np.testing.assert_array_equal(actual, f(x).numpy())


def test_a_compiled_program_survives_serialization():
    bindings = (Binding(0, 256, 64, True), Binding(3, 0, 16, True), Binding(2, 0, 16, False))
    steps = (Dispatch(0, bindings, (7, 2, 1)), Copy(*bindings[:2]),
             Dispatch(1, bindings, (1, 1, 1)))
    commands = Commands(("fn a\n", "fn b"), ("a", "b"), steps, 32)
    compiled = CompiledProgram(
        commands.to_bytes(), (("float32", b"\0\1\n\3"), ("bool", b"\1")), 2, (("int32", 5),),
        {0: 1}, commands.written_slots(5), 512, 256, 4711, ((0,), (1, 2)), 32)
    assert compiled.written_slots == (2,) and commands.written_slots(2) == ()
    assert CompiledProgram.from_bytes(compiled.to_bytes()) == compiled
    assert Commands.from_bytes(compiled.commands) == commands


@pytest.mark.parametrize("dtype, data, expected", [
    ("float32", b"abcd", b"abcd"), ("uint8", b"\x01\xff", b"\x01\0\0\0\xff\0\0\0"),
    ("bool", b"", b""), ("float16", b"ab", b"ab\0\0")])
def test_the_device_layout_consists_of_words(dtype, data, expected):
    assert bytes(to_device_layout(data, dtype)) == expected


def test_a_held_old_value_of_a_variable_does_not_change():
    v = tf.Variable(np.arange(1000, dtype=np.float32))
    step = tf.function(lambda: v.assign_add(v * 2.0))
    step()
    before = v.value()
    step()
    np.testing.assert_array_equal(np.asarray(before), 3 * np.arange(1000))
    np.testing.assert_array_equal(np.asarray(v), 9 * np.arange(1000))


def test_a_variable_is_updated_in_place():
    v = tf.Variable(np.zeros(1000, np.float32))
    step = tf.function(lambda: v.assign_add(tf.ones(1000)))
    step()
    handle = v.storage.handle
    step()
    assert v.storage.handle == handle
    assert np.asarray(v).tolist() == [2.0] * 1000


def test_one_tensor_as_several_operands():
    x = np.random.default_rng(0).normal(size=(12, 12)).astype(np.float32)

    def f(a, b):
        square = tf.tanh(a) + b                    # in the arena, read twice by one kernel
        return tf.matmul(square, square), square * square + a, tf.concat([square, square], 0)

    t = tf.constant(x)
    actual = tf.function(f)(t, t)
    with on("reference"):
        expected = f(tf.constant(x), tf.constant(x))
    for a, e in zip(actual, expected):
        np.testing.assert_allclose(np.asarray(a), np.asarray(e), rtol=0, atol=1e-5)


@pytest.mark.parametrize("width", [1, 3, 64])
@pytest.mark.parametrize("reverse", [False, True])
def test_scans_with_slices_at_unaligned_offsets(width, reverse):
    x = np.random.default_rng(1).normal(size=(7, 2, width)).astype(np.float32)

    def f(xs):
        return scan_loop(lambda s, p: (tf.tanh(s + p), s * p), tf.zeros((2, width)), xs,
                         reverse=reverse)

    actual = tf.function(f)(tf.constant(x))
    with on("reference"):
        expected = f(tf.constant(x))
    for a, e in zip(actual, expected):
        np.testing.assert_allclose(np.asarray(a), np.asarray(e), rtol=0, atol=1e-5)


@pytest.mark.parametrize("prepare", [lambda x: x, lambda x: tf.cumsum(x, axis=0)])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_reads_slices_of_a_tensor_and_all_of_it(prepare, reverse):
    """The tensor is an input, or in the arena, as is the result."""
    x = np.arange(1, 321, dtype=np.float32).reshape(5, 64) / 1000

    def f(x):
        x = prepare(x)
        return tf.scan(lambda sum, e: sum + tf.reduce_sum(e * x * sum[0], axis=0), x,
                       initializer=tf.ones(64), reverse=reverse)

    with on("reference"):
        expected = f(x).numpy()
    np.testing.assert_allclose(tf.function(f)(x).numpy(), expected, rtol=1e-5)


def test_a_nested_scan_reads_slices_of_a_tensor_and_all_of_it():
    x = np.random.default_rng(2).normal(size=(3, 2, 64)).astype(np.float32)

    def f(x):
        x = tf.cumsum(x, axis=0)

        def rows(sum, row):
            return tf.scan(lambda s, e: tf.tanh(s + tf.reduce_sum(e * x, axis=(0, 1))), row,
                           initializer=sum)[-1]

        return tf.scan(rows, x, initializer=tf.ones(64))

    with on("reference"):
        expected = f(x).numpy()
    np.testing.assert_allclose(tf.function(f)(x).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_matrix_times_its_reshape():
    x = np.random.default_rng(3).normal(size=(130, 256)).astype(np.float32)

    def f(x):
        x = tf.cumsum(x)
        return tf.cumsum(tf.matmul(x, tf.reshape(x, (256, 130))))

    with on("reference"):
        expected = f(x).numpy()
    np.testing.assert_allclose(tf.function(f)(x).numpy(), expected, rtol=0,
                               atol=1e-6 * np.abs(expected).max())


def test_released_buffers_are_reused():
    backend = tf.zeros(1).storage.backend
    gc.collect()
    data = from_python(np.zeros(300_000, np.float32))
    held = backend.upload(data)
    calls, in_use, handle = backend.host.calls, backend.memory.in_use, held.handle
    del held
    reused = backend.upload(data)                     # one call: a write without an allocation
    assert (reused.handle, backend.host.calls, backend.memory.in_use) == (handle, calls + 1, in_use)
    assert backend.memory.peak >= backend.memory.in_use


def test_idle_buffers_are_freed_and_contents_kept_when_a_checkpoint_releases_a_buffer(monkeypatch):
    backend = tf.zeros(1).storage.backend
    memory, host, unused_buffers = backend.memory, backend.host, backend.host.unused_buffers
    monkeypatch.setattr("tensorbrook.backends.webgpu.buffer_pool.MAX_IDLE_BYTES", 0)
    held = tf.constant(np.arange(7, dtype=np.float32)) + 1.0
    before = memory.in_use
    memory.trim()
    memory._free.clear()                           # its keys are trimmed in order of insertion
    released_late = [memory.acquire(3 << 19)]

    def release_and_list_unused():
        memory.release(*released_late.pop())       # as a finalizer may at any moment
        return unused_buffers()

    for size in (1 << 16, 1 << 17) * 3 + (memory.in_use + (1 << 20),):
        memory.release(*memory.acquire(size))
    monkeypatch.setattr(host, "unused_buffers", release_and_list_unused)
    monkeypatch.setattr(host, "_due", 0.0)         # a checkpoint is due when a buffer is freed
    memory.release(*memory.acquire(5000))
    assert not released_late
    assert (memory.in_use, memory.idle_bytes) == (before, size_class(5000) + size_class(3 << 19))
    memory.release(*memory.acquire(3 << 19))
    assert memory.idle_bytes == sum(size * len(handles) for size, handles in memory._free.items())
    np.testing.assert_array_equal(held.numpy(), np.arange(7) + 1.0)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 4096, 5000, 1 << 20, (1 << 20) + 1])
def test_size_classes_waste_at_most_an_eighth(size):
    assert size <= size_class(size) <= max(size + 255, size * 1.13)


def test_exhausted_memory_raises_and_leaves_tensors_intact():
    before = tf.constant([1.0, 2.0])
    with pytest.raises(tf.errors.ResourceExhaustedError, match="use a smaller batch or model"):
        tf.zeros((1 << 17, 1 << 14))
    assert (before + 1.0).tolist() == [2.0, 3.0]


@pytest.mark.parametrize("dtype", ["float64"])
def test_an_unsupported_dtype_raises(dtype):
    with pytest.raises(tf.errors.UnimplementedError, match="cannot compute float64; use tf.cast"):
        tf.constant([1.0], dtype) + 1.0


def test_at_most_two_runs_are_in_flight():
    v = tf.Variable(np.zeros((64, 64), np.float32))
    step = tf.function(lambda: v.assign_add(tf.ones((64, 64))))
    host = v.storage.backend.host.host
    for _ in range(20):
        step()
        assert len(host._in_flight) <= 2
    assert float(v[0, 0]) == 20.0


def test_an_evicted_bind_group_stays_alive_while_cached_steps_use_it():
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


def test_a_binding_larger_than_the_limit_raises():
    limited = DeviceInfo(binding_bytes=1 << 20)
    f = tf.function(lambda x, i: tf.gather(x * 2.0, i))
    arguments = tf.zeros((600, 512)), tf.zeros((4,), tf.int32)
    graph = optimize(f.get_concrete_function(*arguments).graph)
    plan = lower(graph, target_info(limited))
    with pytest.raises(tf.errors.ResourceExhaustedError) as caught:
        compile_plan(plan, limited)
    assert str(caught.value) == (
        "multiply: it needs 1.2 MB in one buffer and the GPU binds at most 1 MB; use a smaller "
        'batch or model, or tf.device("/CPU:0")')


def test_the_pipeline_cache_evicts_the_least_recently_used(monkeypatch):
    monkeypatch.setattr(host_wgpu, "MAX_PIPELINES", 3)
    host = host_wgpu.Host()
    code = ("@group(0) @binding(0) var<storage, read_write> x: array<f32>; "
            "@compute @workgroup_size(1) fn main() { x[0] = %d.0; }")
    for n in (0, 1, 2, 3, 3, 2, 1, 4):
        host._pipeline(code % n, (True,))
    assert host.pipelines == 5 and [int(key[0][-6]) for key in host._pipelines] == [2, 3, 4]
    host.close()


@pytest.mark.parametrize("limit, submits", [(1 << 30, 1), (40, 2), (12, 6)])
def test_buffers_are_read_in_batches_up_to_the_staging_limit(limit, submits, monkeypatch):
    monkeypatch.setattr(readback, "MAX_STAGING_BYTES", limit)
    host, sizes = host_wgpu.Host(), [16, 4, 32, 8]
    buffers = [host.new(size) for size in sizes]
    for n, (buffer, size) in enumerate(zip(buffers, sizes)):
        host.write(buffer, bytes(range(n, n + size)))
    expected = [bytes(range(n, n + size)) for n, size in enumerate(sizes)]
    assert host.read_many(list(zip(buffers, sizes))) == expected
    assert host.read_many([]) == [] and host.submits == submits
    host.close()
