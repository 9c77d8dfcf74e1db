"""tf.device, tf.config's devices, and where programs run. The GPU is this machine's, which may be
played by a processor; where a test needs one that is real, it is told that it is."""
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
    """Nobody has chosen anything, nor looked for a GPU."""
    monkeypatch.setattr(EAGER, "gpu_missing_reason", "")
    monkeypatch.setattr(EAGER, "_gpu_is_hardware", None)
    before = EAGER.forced_backend
    EAGER.force_backend(None)
    yield
    EAGER.soft_placement, EAGER.gpu_hidden = True, False
    EAGER.force_backend(before)


@pytest.fixture
def real_gpu(monkeypatch):
    """A GPU that is one, beside a CPU to which a convolution is large."""
    host = backends.get_backend("webgpu").host
    monkeypatch.setattr(host, "device_info", replace(host.device_info, is_software=False))
    monkeypatch.setattr(cost_model, "CPU_THREAD", replace(cost_model.CPU_THREAD, operations=1e7))


@pytest.fixture
def no_gpu(monkeypatch):
    """A machine without the package that reaches a GPU."""
    monkeypatch.delitem(backends._loaded, "webgpu", raising=False)
    monkeypatch.delitem(sys.modules, "tensorbrook.backends.webgpu.host_wgpu", raising=False)
    monkeypatch.setitem(sys.modules, "wgpu", None)


# ── names ──


@pytest.mark.parametrize("spelling, kind", [
    ("GPU", "GPU"), ("gpu:0", "GPU"), ("/GPU:0", "GPU"), ("/device:GPU:0", "GPU"), (GPU, "GPU"),
    ("/device:GPU:*", "GPU"), ("/physical_device:GPU:0", "GPU"), ("/cpu:0", "CPU"), ("CPU", "CPU"),
    ("/job:localhost/device:CPU:0", "CPU")])
def test_spellings(spelling, kind):
    assert parse_device_type("tf.device", spelling) == kind


@pytest.mark.parametrize("spelling", ["/TPU:0", "GPU:1", "/CPU:3", "", "GPU:0:0", "/GPU:0 ", 7])
def test_unknown_devices(spelling):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught, tf.device(spelling):
        pass
    assert str(caught.value) == (f"tf.device: there is no device {spelling!r}; there are "
                                 '"/CPU:0" and, where a GPU is, "/GPU:0"')


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


def test_a_block_serves_again_and_ends_with_an_error():
    block = tf.device("/GPU:0")
    with pytest.raises(KeyError), block:
        with block:
            raise KeyError
    assert EAGER.requested_device is None
    with block:
        assert tf.config.get_backend() == "webgpu"


def test_a_task_that_waits_takes_its_blocks_along():
    with tf.device("/GPU:0"):
        with suspended_stacks():                        # other tasks run now
            assert (tf.ones(2) + 1).device == CPU
            with tf.device("/CPU:0"), suspended_stacks():
                assert EAGER.requested_device is None
        assert (tf.ones(2) + 1).device == GPU


def test_what_an_interrupt_left_open_is_closed():
    tf.device("/GPU:0").__enter__()
    tensor.reset_context_stacks()
    assert EAGER.requested_device is None and (tf.ones(2) + 1).device == CPU


def test_variables_and_programs_go_with_the_block():
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


def test_a_function_asks_for_its_device():
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


def test_a_function_runs_on_one_device():
    @tf.function
    def f(x):
        with tf.device("/GPU:0"):
            x = x + 1
        with tf.device("/CPU:0"):
            return x * 2

    with pytest.raises(tf.errors.InvalidArgumentError, match="has asked for GPU before and asks "
                       "for CPU now, and it runs as one program; make two functions"):
        f(tf.ones(2))


def test_operations_at_once_within_a_trace_have_devices_of_their_own():
    kept = []

    @tf.function
    def f(x):
        with tf.init_scope(), tf.device("/GPU:0"):
            kept.append(tf.ones(2) + 1)
        return x + kept[0]

    assert f(tf.ones(2)).device == CPU and kept[0].tolist() == [2, 2]


def test_a_traced_value_lies_nowhere():
    seen = []
    tf.function(lambda x: seen.append((x * 2).device))(tf.ones(2))
    assert seen == [""]


def test_functions_that_ran_follow_what_is_visible(real_gpu):
    @tf.function
    def asks(x):
        with tf.device("/GPU:0"):
            return x * 2

    @tf.function
    def large(x):
        return tf.nn.conv2d(x, tf.ones((3, 3, 1, 8)))

    x, devices = tf.ones((1, 20, 20, 1)), []
    for shown in ([], tf.config.list_physical_devices("GPU"), []):
        tf.config.set_visible_devices(shown, "GPU")
        devices.append((asks(x).device, large(x).device))
    assert devices == [(CPU, CPU), (GPU, GPU), (CPU, CPU)]


# ── what a device cannot do ──


def test_what_the_gpu_cannot_do_goes_to_the_cpu():
    x = tf.constant(np.array([4.0, 9.0]))
    EAGER.chain_for_device("GPU").warned_about_reference = False
    with tf.device("/GPU:0"), pytest.warns(RuntimeWarning, match="cannot compute float64, so "
                                           "backend reference does, which is slow"):
        y = tf.sqrt(x)
        v = tf.Variable(x)
        assert tf.cast(y + v.value(), tf.float32).tolist() == [6, 12]
    assert (y.device, v.device, y.dtype) == (CPU, CPU, tf.float64)


@pytest.mark.parametrize("limit, why", [
    ("binding_bytes", "it needs 8.0 MB in one piece and the GPU binds at most 4 MB"),
    ("buffer_bytes", "MB and the GPU has buffers of at most 4 MB")])
def test_what_the_gpu_has_no_room_for_goes_to_the_cpu(monkeypatch, limit, why):
    host = backends.get_backend("webgpu").host
    monkeypatch.setattr(host, "device_info", replace(host.device_info, **{limit: 1 << 22}))

    def f(x):
        y = tf.cumsum(tf.broadcast_to(x, (1024, 2048)))
        return tf.reduce_sum(tf.cumsum(y, axis=1))

    with tf.device("/GPU:0"):
        assert tf.function(f)(tf.ones(1)).device == CPU
    with on("webgpu"), pytest.raises(tf.errors.ResourceExhaustedError, match=why):
        tf.function(f)(tf.ones(1))


@pytest.mark.parametrize("name, backend", [("/GPU:0", "webgpu"), ("/CPU:0", "wasm")])
def test_unless_that_is_forbidden(name, backend):
    x = tf.constant(np.array([4.0, 9.0]))
    assert tf.config.get_soft_device_placement()
    tf.config.set_soft_device_placement(False)
    with tf.device(name), pytest.raises(tf.errors.UnimplementedError,
                                        match=f"sqrt: backend {backend} cannot compute float64"):
        tf.sqrt(x)


@pytest.mark.parametrize("name", ["webgpu", "wasm"])
def test_a_backend_that_was_set_is_never_left(name):
    x = tf.constant(np.array([4.0, 9.0]))
    with on(name), pytest.raises(tf.errors.UnimplementedError, match=f"backend {name} cannot"):
        tf.sqrt(x)


# ── which there are ──


def test_lists_of_devices():
    cpu, gpu = tf.config.list_physical_devices()
    assert cpu == ("/physical_device:CPU:0", "CPU") and gpu == ("/physical_device:GPU:0", "GPU")
    assert tf.config.list_physical_devices("GPU") == [gpu]
    assert tf.config.list_physical_devices("TPU") == []
    assert [d.name for d in tf.config.list_logical_devices()] == ["/device:CPU:0", "/device:GPU:0"]
    assert tf.config.experimental.list_physical_devices is tf.config.list_physical_devices


def test_a_gpu_may_be_hidden():
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


def test_details():
    cpu, gpu = tf.config.list_physical_devices()
    details = tf.config.experimental.get_device_details
    device_info = backends.get_backend("webgpu").host.device_info
    assert details(cpu) == {} and details(gpu)["device_name"] == device_info.name
    assert details(gpu)["software"] == device_info.is_software
    assert tf.config.experimental.get_memory_growth(gpu)
    tf.config.experimental.set_memory_growth(gpu, True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="cannot be taken beforehand"):
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
    with pytest.raises(tf.errors.UnavailableError, match=f"there is no GPU:0: {missing}"):
        tf.device("/GPU:0").__enter__()
    assert EAGER.requested_device is None and (tf.ones(2) + 1).device == CPU


@pytest.mark.parametrize("name", ["CPU:0", "GPU:0"])
def test_memory_in_use(name):
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


# ── where nobody chose ──


class Learner:
    """A large step, and small functions of what it learns."""

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


def test_a_large_program_goes_to_a_gpu_and_small_ones_go_after_their_tensors(real_gpu):
    one, x = Learner(), tf.ones(IMAGES)
    alone = tf.function(lambda x: x + 1)
    assert float(one.small(tf.constant(1.0))) == pytest.approx(9) and one.w.device == CPU
    loss = one.step(x)
    assert (loss.device, one.w.device, one.total.device) == (GPU, GPU, GPU)
    wasm, webgpu = backends.get_backend("wasm"), backends.get_backend("webgpu")
    ran, calls = wasm.programs_run, webgpu.host.calls
    for _ in range(3):
        one.step(x)
        one.small(tf.constant(1.0))
        one.total.assign(0.0)
        tf.sqrt(one.w)
    assert (one.w.device, one.total.device, wasm.programs_run) == (GPU, GPU, ran)
    assert webgpu.host.calls - calls <= 3 * 8            # none of them moves the weights
    assert alone(tf.ones(3)).device == CPU and (tf.ones(2) + 1).device == CPU


def test_float16_goes_to_a_gpu_however_small(real_gpu):
    x = tf.constant(np.array([1.0, 2.0], "float16"))
    assert (x * x).device == (x * x).device == GPU and tf.function(lambda x: x + x)(x).device == GPU
    assert tf.cast(x, tf.float32).tolist() == [1.0, 2.0] and (tf.ones(2) + 1).device == CPU


def test_float16_goes_to_the_reference_where_no_gpu_is(no_gpu):
    EAGER.chain_for_device("CPU").warned_about_reference = False
    x = tf.constant(np.array([1.0, 2.0], "float16"))
    with pytest.warns(RuntimeWarning, match="backend wasm cannot compute float16, so backend ref"):
        assert (x * x).tolist() == [1.0, 4.0]
    tf.config.set_soft_device_placement(False)
    with pytest.raises(tf.errors.UnimplementedError, match="backend wasm cannot compute float16"):
        tf.function(lambda x: x + x)(x)


def test_variables_decide_before_data(real_gpu):
    one = Learner()
    one.step(tf.ones(IMAGES))
    data = tf.ones(1 << 15) + 1
    look = tf.function(lambda: tf.reduce_sum(data[:2]) + tf.reduce_sum(one.w))
    assert look().device == GPU and (one.w.device, data.device) == (GPU, GPU)


def test_a_gpu_that_does_not_come_up_stops_nobody(real_gpu, monkeypatch):
    def broken():
        raise OSError("the driver has gone")

    monkeypatch.setattr(EAGER, "find_gpu", broken)
    assert Learner().step(tf.ones(IMAGES)).device == CPU
    assert EAGER.gpu_missing_reason == "it does not come up: the driver has gone"


def test_a_model_is_fitted_where_that_is_faster(real_gpu):
    tf.random.set_seed(1)
    model = tf.keras.Sequential([tf.keras.layers.Conv2D(8, 3), tf.keras.layers.Flatten(),
                                 tf.keras.layers.Dense(3)])
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    x, y = tf.random.normal((24, 12, 12, 8)), tf.range(24) % 3
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0, validation_data=(x, y))
    assert history.history["loss"][1] < history.history["loss"][0]
    assert {v.device for v in (*model.variables, *model.optimizer.variables)} == {GPU}
    wasm, ran = backends.get_backend("wasm"), backends.get_backend("wasm").programs_run
    assert model.evaluate(x, y, verbose=0)[0] < history.history["val_loss"][0]
    model.predict(x[:1], verbose=0)
    assert wasm.programs_run - ran <= 2 and model.weights[0].device == GPU


def test_and_back_when_that_is_chosen(real_gpu):
    one, x = Learner(), tf.ones(IMAGES)
    one.step(x)
    with tf.device("/CPU:0"):
        assert one.step(x).device == CPU and one.w.device == CPU
    assert one.step(x).device == GPU
    tf.config.set_visible_devices([], "GPU")
    assert one.step(x).device == CPU


def test_a_processor_that_plays_a_gpu_is_not_chosen(monkeypatch):
    monkeypatch.setattr(cost_model, "CPU_THREAD", replace(cost_model.CPU_THREAD, operations=1e7))
    host = backends.get_backend("webgpu").host
    monkeypatch.setattr(host, "device_info", replace(host.device_info, is_software=True))
    one = Learner()
    assert one.step(tf.ones(IMAGES)).device == CPU and EAGER._gpu_is_hardware is False


def test_nobody_looks_for_a_gpu_before_a_program_is_large(monkeypatch):
    monkeypatch.setattr(EAGER, "find_gpu", lambda: pytest.fail("looked for a GPU"))
    one = Learner()
    one.step(tf.ones(IMAGES))
    one.small(1.0)
    assert EAGER._gpu_is_hardware is None


def test_an_import_and_small_programs_leave_the_gpu_alone():
    code = ("import sys, tensorbrook as tf; tf.function(lambda x: x @ x)(tf.ones((8, 8)));"
            "print('wgpu' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert done.stdout == "False\n", done.stderr


def test_the_command_runs_a_script_on_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import tensorbrook as tf\nprint(tf.config.get_backend(), (tf.ones(2) + 1)"
                      ".device[-5:])\n", encoding="utf-8")
    command = [sys.executable, "-m", "tensorbrook", "run", "--backend", "webgpu", str(script)]
    done = subprocess.run(command, text=True, capture_output=True)
    assert (done.returncode, done.stdout) == (0, "webgpu GPU:0\n"), done.stderr
