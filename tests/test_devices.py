"""tf.device, the devices of tf.config, and placement of programs.

The GPU of the machine may be a software adapter. The fixture `real_gpu` marks it as hardware.
"""
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from tensorbrook import backends, tensor
from tensorbrook.base.task_local import suspended_stacks
from tensorbrook.compiler import cost_model
from tensorbrook.devices import parse_device_type
from tensorbrook.eager import EAGER

CPU, GPU = (f"/job:localhost/replica:0/task:0/device:{kind}:0" for kind in ("CPU", "GPU"))


@pytest.fixture(autouse=True)
def automatic(monkeypatch):
    """Automatic placement, before any search for a GPU."""
    monkeypatch.setattr(EAGER, "gpu_missing_reason", "")
    monkeypatch.setattr(EAGER, "_gpu_is_hardware", None)
    before = EAGER.forced_backend
    EAGER.force_backend(None)
    yield
    EAGER.soft_placement, EAGER.gpu_hidden = True, False
    EAGER.force_backend(before)


@pytest.fixture
def real_gpu(monkeypatch):
    """A hardware GPU, and a CPU that is slow enough for a convolution to run on the GPU."""
    host = backends.get_backend("webgpu").host
    monkeypatch.setattr(host, "device_info", replace(host.device_info, is_software=False))
    monkeypatch.setattr(cost_model, "CPU_THREAD", replace(cost_model.CPU_THREAD, operations=1e7))


@pytest.fixture
def no_gpu(monkeypatch):
    """A machine without the package wgpu."""
    monkeypatch.delitem(backends._loaded, "webgpu", raising=False)
    monkeypatch.delitem(sys.modules, "tensorbrook.backends.webgpu.host_wgpu", raising=False)
    monkeypatch.setitem(sys.modules, "wgpu", None)


# ── names ──


@pytest.mark.parametrize("spelling, kind", [
    ("GPU", "GPU"), ("gpu:0", "GPU"), ("/GPU:0", "GPU"), ("/device:GPU:0", "GPU"), (GPU, "GPU"),
    ("/device:GPU:*", "GPU"), ("/physical_device:GPU:0", "GPU"), ("/cpu:0", "CPU"), ("CPU", "CPU"),
    ("/job:localhost/device:CPU:0", "CPU")])
def test_device_names(spelling, kind):
    assert parse_device_type("tf.device", spelling) == kind


@pytest.mark.parametrize("spelling", ["/TPU:0", "GPU:1", "/CPU:3", "", "GPU:0:0", "/GPU:0 ", 7])
def test_unknown_device_names_are_errors(spelling):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught, tf.device(spelling):
        pass
    assert str(caught.value) == (f"tf.device: unknown device {spelling!r}; use "
                                 '"/CPU:0" or, on a machine with a GPU, "/GPU:0"')


# ── tf.device ──


def test_a_block_computes_on_its_device():
    with tf.device("/GPU:0"):
        x = tf.ones((2, 2)) * 3
        with tf.device("/CPU:0"):
            y = tf.ones(2) * 2
            with tf.device(None):
                z = tf.ones(2) * 4
    assert [t.device for t in (x, y, z)] == [GPU, CPU, CPU] and tf.config.get_backend() == "wasm"
    assert x.tolist() == [[3, 3], [3, 3]] and (x + tf.ones((2, 2))).device == CPU
    assert tf.constant(1.0).device == CPU


def test_a_block_is_reusable_and_ends_on_an_exception():
    block = tf.device("/GPU:0")
    with pytest.raises(KeyError), block:
        with block:
            raise KeyError
    assert EAGER.requested_device is None
    with block:
        assert tf.config.get_backend() == "webgpu"


def test_a_suspended_task_keeps_its_blocks():
    with tf.device("/GPU:0"):
        with suspended_stacks():                        # another task runs
            assert (tf.ones(2) + 1).device == CPU
            with tf.device("/CPU:0"), suspended_stacks():
                assert EAGER.requested_device is None
        assert (tf.ones(2) + 1).device == GPU


def test_a_block_left_open_by_an_interrupt_is_closed():
    tf.device("/GPU:0").__enter__()
    tensor.reset_context_stacks()
    assert EAGER.requested_device is None and (tf.ones(2) + 1).device == CPU


def test_variables_move_and_programs_compile_for_the_device_of_the_block():
    w = tf.Variable([1.0, 2.0])

    @tf.function
    def step(x):
        w.assign_sub(0.5 * x)
        return tf.reduce_sum(w)

    losses, devices = [], []
    for name in ("/CPU:0", "/GPU:0", "/CPU:0", "/GPU:0"):
        with tf.device(name):
            losses.append(float(step(tf.constant([1.0, -1.0]))))
            devices.append(w.device)
    assert losses == [3, 3, 3, 3] and devices == [CPU, GPU, CPU, GPU]
    assert w.numpy().tolist() == [-1, 4]
    assert len(step.get_concrete_function(tf.constant([1.0, -1.0]))._programs) == 2


def test_a_function_can_request_a_device():
    w = tf.Variable([1.0, 2.0])

    @tf.function
    def f(x):
        with tf.device("/GPU:0"):
            return tf.reduce_sum(x * w)

    with tf.GradientTape() as tape:
        out = f(tf.constant([3.0, 4.0]))
    gradient = tape.gradient(out, w)
    assert (out.device, gradient.device) == (GPU, GPU)
    assert float(out) == 11 and gradient.tolist() == [3, 4]


def test_a_function_cannot_request_two_devices():
    @tf.function
    def f(x):
        with tf.device("/GPU:0"):
            x = x + 1
        with tf.device("/CPU:0"):
            return x * 2

    with pytest.raises(tf.errors.InvalidArgumentError, match="requests GPU and then CPU, but it "
                       "runs as one program on one device; split it into two functions"):
        f(tf.ones(2))


def test_eager_operations_in_init_scope_have_a_separate_device():
    eager = []

    @tf.function
    def f(x):
        with tf.init_scope(), tf.device("/GPU:0"):
            eager.append(tf.ones(2) + 1)
        return x + eager[0]

    assert f(tf.ones(2)).device == CPU and eager[0].tolist() == [2, 2]


def test_a_traced_tensor_has_no_device():
    devices = []
    tf.function(lambda x: devices.append((x * 2).device))(tf.ones(2))
    assert devices == [""]


def test_compiled_functions_follow_the_visible_devices(real_gpu):
    @tf.function
    def explicit(x):
        with tf.device("/GPU:0"):
            return x * 2

    @tf.function
    def large(x):
        return tf.nn.conv2d(x, tf.ones((3, 3, 1, 8)))

    x, devices = tf.ones((1, 20, 20, 1)), []
    for visible in ([], tf.config.list_physical_devices("GPU"), []):
        tf.config.set_visible_devices(visible, "GPU")
        devices.append((explicit(x).device, large(x).device))
    assert devices == [(CPU, CPU), (GPU, GPU), (CPU, CPU)]


# ── fallback to another device ──


def test_unsupported_dtypes_fall_back_to_the_cpu():
    x = tf.constant(np.array([4.0, 9.0]))
    EAGER.chain_for_device("GPU").warned_about_reference = False
    with tf.device("/GPU:0"), pytest.warns(RuntimeWarning, match="cannot compute float64; "
                                           "falling back to backend reference, which is slow"):
        y = tf.sqrt(x)
        v = tf.Variable(x)
        assert tf.cast(y + v.value(), tf.float32).tolist() == [6, 12]
    assert (y.device, v.device, y.dtype) == (CPU, CPU, tf.float64)


@pytest.mark.parametrize("limit, message", [
    ("binding_bytes", "it needs 8.0 MB in one buffer and the GPU binds at most 4 MB"),
    ("buffer_bytes", "MB and the GPU has buffers of at most 4 MB")])
def test_programs_over_the_gpu_limits_fall_back_to_the_cpu(monkeypatch, limit, message):
    host = backends.get_backend("webgpu").host
    monkeypatch.setattr(host, "device_info", replace(host.device_info, **{limit: 1 << 22}))

    def f(x):
        y = tf.cumsum(tf.broadcast_to(x, (1024, 2048)))
        return tf.reduce_sum(tf.cumsum(y, axis=1))

    with tf.device("/GPU:0"):
        assert tf.function(f)(tf.ones(1)).device == CPU
    with on("webgpu"), pytest.raises(tf.errors.ResourceExhaustedError, match=message):
        tf.function(f)(tf.ones(1))


@pytest.mark.parametrize("name, backend", [("/GPU:0", "webgpu"), ("/CPU:0", "wasm")])
def test_without_soft_placement_there_is_no_fallback(name, backend):
    x = tf.constant(np.array([4.0, 9.0]))
    assert tf.config.get_soft_device_placement()
    tf.config.set_soft_device_placement(False)
    with tf.device(name), pytest.raises(tf.errors.UnimplementedError,
                                        match=f"sqrt: backend {backend} cannot compute float64"):
        tf.sqrt(x)


@pytest.mark.parametrize("name", ["webgpu", "wasm"])
def test_a_backend_that_was_set_has_no_fallback(name):
    x = tf.constant(np.array([4.0, 9.0]))
    with on(name), pytest.raises(tf.errors.UnimplementedError, match=f"backend {name} cannot"):
        tf.sqrt(x)


# ── tf.config ──


def test_lists_of_devices():
    cpu, gpu = tf.config.list_physical_devices()
    assert cpu == ("/physical_device:CPU:0", "CPU") and gpu == ("/physical_device:GPU:0", "GPU")
    assert tf.config.list_physical_devices("GPU") == [gpu]
    assert tf.config.list_physical_devices("TPU") == []
    assert [d.name for d in tf.config.list_logical_devices()] == ["/device:CPU:0", "/device:GPU:0"]
    assert tf.config.experimental.list_physical_devices is tf.config.list_physical_devices


def test_a_hidden_gpu_is_not_used():
    cpu, gpu = tf.config.list_physical_devices()
    tf.config.set_visible_devices([], "GPU")
    assert tf.config.get_visible_devices() == [cpu] and tf.config.list_logical_devices("GPU") == []
    with tf.device("/GPU:0"):
        assert (tf.ones(2) + 1).device == CPU
    tf.config.set_soft_device_placement(False)
    with pytest.raises(tf.errors.UnavailableError, match="set_visible_devices has hidden it"):
        tf.device("/GPU:0").__enter__()
    tf.config.set_visible_devices([cpu, gpu])
    assert tf.config.get_visible_devices() == [cpu, gpu]
    for bad, message in (([gpu], "the CPU cannot be hidden"), (["GPU"], "'GPU' is not among")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            tf.config.set_visible_devices(bad)


def test_device_details():
    cpu, gpu = tf.config.list_physical_devices()
    details = tf.config.experimental.get_device_details
    device_info = backends.get_backend("webgpu").host.device_info
    assert details(cpu) == {} and details(gpu)["device_name"] == device_info.name
    assert details(gpu)["software"] == device_info.is_software
    assert tf.config.experimental.get_memory_growth(gpu)
    tf.config.experimental.set_memory_growth(gpu, True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="cannot be preallocated"):
        tf.config.experimental.set_memory_growth(gpu, False)


def test_without_a_gpu(no_gpu):
    assert [d.device_type for d in tf.config.list_physical_devices()] == ["CPU"]
    with tf.device("/GPU:0"):
        assert (tf.ones(2) + 1).device == CPU
    missing = "the package wgpu is not installed"
    with pytest.raises(tf.errors.UnavailableError, match=missing):
        tf.config.set_backend("webgpu")
    with pytest.raises(tf.errors.InvalidArgumentError, match=missing):
        tf.config.experimental.get_memory_info("GPU:0")
    tf.config.set_soft_device_placement(False)
    with pytest.raises(tf.errors.UnavailableError, match=f"GPU:0 is not available: {missing}"):
        tf.device("/GPU:0").__enter__()
    assert EAGER.requested_device is None and (tf.ones(2) + 1).device == CPU


@pytest.mark.parametrize("name", ["CPU:0", "GPU:0"])
def test_memory_info(name):
    info = tf.config.experimental.get_memory_info
    with tf.device(name):
        x = tf.zeros(1 << 18) + 1.0
        before = info(name)
        tf.config.experimental.reset_memory_stats(name)
        y = x + 1.0
        during = info(name)
        del y
        after = info(name)
    assert during["current"] - before["current"] == 1 << 20
    assert after == {"current": before["current"], "peak": during["current"]}


# ── automatic placement ──


class Learner:
    """A large training step, and a small function of its weights."""

    def __init__(self):
        self.w = tf.Variable(tf.ones((3, 3, 8, 8)) / 72)
        self.total = tf.Variable(0.0)
        self.step = tf.function(self._step)
        self.small = tf.function(lambda x: x + tf.reduce_sum(self.w))

    def _step(self, x):
        loss = tf.reduce_mean(tf.nn.conv2d(x, self.w, 1, "VALID"))
        self.w.assign(self.w * loss)
        self.total.assign_add(loss)
        return loss


IMAGES = (1, 34, 34, 8)


def test_a_large_program_runs_on_the_gpu_and_small_ones_on_the_device_of_their_variables(real_gpu):
    learner, x = Learner(), tf.ones(IMAGES)
    unrelated = tf.function(lambda x: x + 1)
    assert float(learner.small(tf.constant(1.0))) == pytest.approx(9) and learner.w.device == CPU
    loss = learner.step(x)
    assert (loss.device, learner.w.device, learner.total.device) == (GPU, GPU, GPU)
    wasm, webgpu = backends.get_backend("wasm"), backends.get_backend("webgpu")
    programs_run, calls = wasm.programs_run, webgpu.host.calls
    for _ in range(3):
        learner.step(x)
        learner.small(tf.constant(1.0))
        learner.total.assign(0.0)
        tf.sqrt(learner.w)
    assert (learner.w.device, learner.total.device) == (GPU, GPU)
    assert wasm.programs_run == programs_run
    assert webgpu.host.calls - calls <= 3 * 8            # the weights are not transferred
    assert unrelated(tf.ones(3)).device == CPU and (tf.ones(2) + 1).device == CPU


def test_float16_programs_of_any_size_run_on_the_gpu(real_gpu):
    x = tf.constant(np.array([1.0, 2.0], "float16"))
    assert (x * x).device == (x * x).device == GPU and tf.function(lambda x: x + x)(x).device == GPU
    assert tf.cast(x, tf.float32).tolist() == [1.0, 2.0] and (tf.ones(2) + 1).device == CPU


def test_float16_falls_back_to_the_reference_without_a_gpu(no_gpu):
    EAGER.chain_for_device("CPU").warned_about_reference = False
    x = tf.constant(np.array([1.0, 2.0], "float16"))
    with pytest.warns(RuntimeWarning, match="backend wasm cannot compute float16; falling back"):
        assert (x * x).tolist() == [1.0, 4.0]
    tf.config.set_soft_device_placement(False)
    with pytest.raises(tf.errors.UnimplementedError, match="backend wasm cannot compute float16"):
        tf.function(lambda x: x + x)(x)


def test_variables_decide_the_device_before_other_tensors(real_gpu):
    learner = Learner()
    learner.step(tf.ones(IMAGES))
    data = tf.ones(1 << 15) + 1
    look = tf.function(lambda: tf.reduce_sum(data[:2]) + tf.reduce_sum(learner.w))
    assert look().device == GPU and (learner.w.device, data.device) == (GPU, GPU)


def test_a_gpu_that_fails_to_initialize_is_not_an_error(real_gpu, monkeypatch):
    def broken():
        raise OSError("the driver failed")

    monkeypatch.setattr(EAGER, "find_gpu", broken)
    assert Learner().step(tf.ones(IMAGES)).device == CPU
    assert EAGER.gpu_missing_reason == "its initialization failed: the driver failed"


def test_fit_runs_on_the_faster_device(real_gpu):
    tf.random.set_seed(1)
    model = tf.keras.Sequential([tf.keras.layers.Conv2D(8, 3), tf.keras.layers.Flatten(),
                                 tf.keras.layers.Dense(3)])
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    x, y = tf.random.normal((24, 12, 12, 8)), tf.range(24) % 3
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0, validation_data=(x, y))
    assert history.history["loss"][1] < history.history["loss"][0]
    assert {v.device for v in (*model.variables, *model.optimizer.variables)} == {GPU}
    wasm = backends.get_backend("wasm")
    programs_run = wasm.programs_run
    assert model.evaluate(x, y, verbose=0)[0] < history.history["val_loss"][0]
    model.predict(x[:1], verbose=0)
    assert wasm.programs_run - programs_run <= 2 and model.weights[0].device == GPU


def test_a_device_block_overrides_the_automatic_choice(real_gpu):
    learner, x = Learner(), tf.ones(IMAGES)
    learner.step(x)
    with tf.device("/CPU:0"):
        assert learner.step(x).device == CPU and learner.w.device == CPU
    assert learner.step(x).device == GPU
    tf.config.set_visible_devices([], "GPU")
    assert learner.step(x).device == CPU


def test_a_software_adapter_is_not_chosen_automatically(monkeypatch):
    monkeypatch.setattr(cost_model, "CPU_THREAD", replace(cost_model.CPU_THREAD, operations=1e7))
    host = backends.get_backend("webgpu").host
    monkeypatch.setattr(host, "device_info", replace(host.device_info, is_software=True))
    learner = Learner()
    assert learner.step(tf.ones(IMAGES)).device == CPU and EAGER._gpu_is_hardware is False


def test_small_programs_do_not_search_for_a_gpu(monkeypatch):
    monkeypatch.setattr(EAGER, "find_gpu", lambda: pytest.fail("looked for a GPU"))
    learner = Learner()
    learner.step(tf.ones(IMAGES))
    learner.small(1.0)
    assert EAGER._gpu_is_hardware is None


def test_importing_and_small_programs_do_not_load_wgpu():
    code = ("import sys, tensorbrook as tf; tf.function(lambda x: x @ x)(tf.ones((8, 8)));"
            "print('wgpu' in sys.modules)")
    result = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert result.stdout == "False\n", result.stderr


def test_the_run_command_has_a_backend_option(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import tensorbrook as tf\nprint(tf.config.get_backend(), (tf.ones(2) + 1)"
                      ".device[-5:])\n", encoding="utf-8")
    command = [sys.executable, "-m", "tensorbrook", "run", "--backend", "webgpu", str(script)]
    result = subprocess.run(command, text=True, capture_output=True)
    assert (result.returncode, result.stdout) == (0, "webgpu GPU:0\n"), result.stderr
