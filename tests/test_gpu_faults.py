"""GPU faults: a lost device, exhausted memory, a rejected shader, a missing adapter."""

import gc
import inspect
import os
import subprocess
import sys
import warnings
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from backends import on
from test_interrupts import Interruption

import tensorbrook as tf
from tensorbrook import backends, keras
from tensorbrook.backends.webgpu import WebGPU, device_recovery, shader_templates
from tensorbrook.backends.webgpu.host_wgpu import Host
from tensorbrook.eager import EAGER

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 8)).astype("f4")
Y = X[:, :3].argmax(1).astype("i4")


@pytest.fixture
def gpu(monkeypatch):
    """Backend webgpu with a separate device, as the current backend."""
    backend = WebGPU(Host())
    with on("reference"):
        monkeypatch.setitem(backends._loaded, "webgpu", backend)
        with on("webgpu"):
            yield backend
        monkeypatch.undo()
        tf.random.set_seed(0)                # the generator's state is on the closed backend
    backend.host.close()


def lose(gpu):
    gpu.host.host.destroy()


def without_replacement(monkeypatch, gpu):
    """Make no other device available after a loss."""
    def reopen_device():
        raise tf.errors.UnavailableError("webgpu", "there is no adapter", "compute on wasm")
    monkeypatch.setattr(gpu.host.host, "reopen_device", reopen_device)


@contextmanager
def expect_warnings(*texts):
    """Assert that the block emits exactly these warnings, given as parts of their messages."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    messages = "\n".join(str(w.message) for w in caught)
    assert len(caught) == len(texts) and all(t in messages for t in texts), messages


ANOTHER, CPU = "another device has taken over", "the CPU has taken over"


class CallAfterBatches(keras.callbacks.Callback):
    """Calls a function after a number of batches: `train_3=f` after the third training batch."""

    def __init__(self, **calls):
        super().__init__()
        self.calls, self.counts = calls, {"train": 0, "test": 0}

    def on_train_batch_end(self, batch, logs=None):
        self.count("train")

    def on_test_batch_end(self, batch, logs=None):
        self.count("test")

    def count(self, kind):
        self.counts[kind] += 1
        self.calls.get(f"{kind}_{self.counts[kind]}", lambda: None)()


def train(batch_size=32, **calls):
    """Return (history, weights) of a model with dropout, shuffled batches and validation."""
    tf.random.set_seed(3)
    model = keras.Sequential([keras.layers.Dense(16, activation="relu"), keras.layers.Dropout(0.2),
                              keras.layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(X, Y, epochs=2, batch_size=batch_size, verbose=0, validation_split=0.2,
                        callbacks=[CallAfterBatches(**calls)])
    return history.history, [w.numpy() for w in model.weights]


@pytest.fixture(scope="module")
def expected():
    """The results of `train` without a fault."""
    with on("webgpu"):
        return train()


def assert_same_training(actual, expected, tolerance=0.0):
    for a, e in zip([*actual[0].values(), *actual[1]], [*expected[0].values(), *expected[1]],
                    strict=True):
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance)


# ── lost devices ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("checkpoint, loss", [
    (None, "train_1"), (None, "train_5"), ("train_2", "train_3"), ("train_4", "test_2"),
    ("test_1", "train_6")])
def test_fit_is_bit_exact_after_device_loss(gpu, expected, checkpoint, loss):
    with expect_warnings(ANOTHER):
        actual = train(**{checkpoint or "": gpu.host.checkpoint}, **{loss: lambda: lose(gpu)})
    assert_same_training(actual, expected)


def test_fit_is_bit_exact_after_repeated_device_losses(gpu, expected):
    with expect_warnings(ANOTHER, ANOTHER, ANOTHER):
        actual = train(train_2=lambda: lose(gpu), train_3=lambda: lose(gpu),
                       train_4=gpu.host.checkpoint, test_2=lambda: lose(gpu))
    assert_same_training(actual, expected)


def test_fit_continues_on_the_cpu_if_no_device_is_left(gpu, expected, monkeypatch):
    without_replacement(monkeypatch, gpu)
    x = tf.constant([1.0, 2.0]) * 3.0
    flags = tf.constant([1, 2]) > 1
    with expect_warnings(CPU):
        actual = train(train_2=gpu.host.checkpoint, train_4=lambda: lose(gpu))
    assert_same_training(actual, expected, tolerance=1e-5)
    assert (x * 2.0).tolist() == [6.0, 12.0] and flags.tolist() == [False, True]
    assert (x * 2.0).storage.backend.name == "wasm"


KIND = "a GPU of another kind has taken over"
OTHER = {"name": "another", "storage_buffers": 8, "max_invocations": 128, "offset_alignment": 256,
         "min_subgroup_size": 0}


def with_lesser_replacement(monkeypatch, gpu, **device_info):
    """Make a device with lower limits the replacement of this one."""
    host = gpu.host.host
    reopen_device = host.reopen_device

    def reopen_lesser_device():
        reopen_device()
        host.device_info = replace(host.device_info, **OTHER | device_info)

    monkeypatch.setattr(host, "reopen_device", reopen_lesser_device)


def test_programs_are_recompiled_for_a_device_of_another_kind(gpu, monkeypatch):
    """The new backend also recovers from a loss of its device."""
    with_lesser_replacement(monkeypatch, gpu)
    raw, held = gpu.host.host, tf.Variable([1.0, 2.0])
    step = tf.function(lambda: held.assign_add([1.0, 1.0]))
    step()
    before = held.value()
    gpu.host.checkpoint()
    lose(gpu)
    with expect_warnings(KIND):
        step()
    replacement = backends.existing_backend("webgpu")
    assert replacement is not gpu and replacement.host.device_info.name == "another"
    assert replacement.target.max_buffers_per_kernel == 8
    step()
    assert (before.tolist(), held.tolist()) == ([2.0, 3.0], [4.0, 5.0])
    assert held.storage.backend is replacement and tf.config.get_backend() == "webgpu"
    raw.destroy()
    with expect_warnings(ANOTHER):
        assert held.tolist() == [4.0, 5.0] and before.tolist() == [2.0, 3.0]
    replacement.host.close()


def test_old_values_keep_their_contents_on_a_device_of_another_kind(gpu, monkeypatch):
    with_lesser_replacement(monkeypatch, gpu)
    v = tf.Variable([1.0, 2.0])
    step = tf.function(lambda: v.assign_add([1.0, 1.0]))
    step()
    gpu.host.checkpoint()
    step()
    before = v.value()
    step()
    lose(gpu)
    with expect_warnings(KIND):
        assert (before.tolist(), v.tolist()) == ([3.0, 4.0], [4.0, 5.0])
    backends.existing_backend("webgpu").host.close()


def test_fit_continues_on_a_device_of_another_kind(gpu, expected, monkeypatch):
    with_lesser_replacement(monkeypatch, gpu)
    with expect_warnings(KIND):
        actual = train(train_2=gpu.host.checkpoint, train_4=lambda: lose(gpu))
    assert_same_training(actual, expected, tolerance=1e-5)
    gc.collect()
    buffers = [held for held in gpu.host.host._buffers.values() if not isinstance(held, bytes)]
    assert len(buffers) < 5, "the lost backend still holds buffers that have moved"
    backends.existing_backend("webgpu").host.close()


@pytest.mark.parametrize("has_gpu", [True, False], ids=["another GPU", "no GPU"])
def test_float16_falls_back_after_the_loss_of_the_device_that_supports_it(
        gpu, monkeypatch, has_gpu):
    EAGER.chain_for_device("CPU").warned_about_reference = False   # an earlier test may have warned
    if has_gpu:
        with_lesser_replacement(monkeypatch, gpu, f16=False)
    else:
        without_replacement(monkeypatch, gpu)
    v = tf.Variable([1.0, 2.0])
    float16_values = tf.cast(v, tf.float16)

    @tf.function
    def step():
        v.assign_add(tf.cast(tf.cast(v, tf.float16) * 0.5 + float16_values, tf.float32))

    step()
    lose(gpu)
    with expect_warnings(KIND if has_gpu else CPU,
                         "falling back to backend reference, which is slow"):
        step()
        assert v.tolist() == [4.75, 9.5]
    with tf.device("/GPU:0"), expect_warnings():
        step()
    assert v.tolist() == [8.125, 16.25] and float16_values.tolist() == [1.0, 2.0]


def test_a_program_that_loses_every_device_runs_on_the_cpu(gpu, monkeypatch):
    """Such as a shader that runs so long that the driver resets the device."""
    inner, v = gpu.host.host, tf.Variable([1.0, 2.0])
    run = inner.run

    def lose_and_run(*args):
        inner.destroy()
        run(*args)

    monkeypatch.setattr(inner, "run", lose_and_run)
    with expect_warnings(CPU):
        v.assign_add([1.0, 1.0])
        v.assign(v * 2.0)
    assert v.tolist() == [4.0, 6.0]


def test_a_custom_training_loop_continues_after_device_loss(gpu):
    w, x = tf.Variable([[0.5], [0.25]]), tf.constant([[1.0, 2.0], [3.0, 4.0]])
    losses, before = [], x @ w

    @tf.function
    def step(rate):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ w - 1.0))
        w.assign_sub(rate * tape.gradient(loss, w))
        return loss

    for i in range(6):
        if i == 3:
            lose(gpu)
        with expect_warnings(*[ANOTHER] * (i == 3)):
            losses.append(float(step(tf.constant(0.01))))
    lose(gpu)
    with expect_warnings(ANOTHER):
        assert before.tolist() == [[1.0], [2.5]]
    with on("reference"):
        v, expected_losses = np.array([[0.5], [0.25]]), []
        for _ in range(6):
            error = x.numpy() @ v - 1
            expected_losses.append((error**2).mean())
            v -= 0.01 * x.numpy().T @ error
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)


def test_a_model_too_large_for_a_checkpoint_is_lost_with_its_device(gpu, expected, monkeypatch):
    monkeypatch.setattr(device_recovery, "MAX_CHECKPOINT_BYTES", 100)
    with pytest.raises(tf.errors.UnavailableError, match="too large for a checkpoint; create "
                       "the model again, or load a saved one"):
        train(train_2=gpu.host.checkpoint, train_3=lambda: lose(gpu))
    assert gpu.is_lost
    monkeypatch.setattr(device_recovery, "MAX_CHECKPOINT_BYTES", 1 << 30)
    x = tf.constant([3.0, 4.0])
    assert (x + 1.0).tolist() == [4.0, 5.0], "later operations run on a new device"
    sample = tf.random.normal((8,))
    assert set(sample.tolist()).isdisjoint(tf.random.normal((8,)).tolist()), "the state advances"
    assert_same_training(train(), expected)
    replacement = backends.existing_backend("webgpu")
    assert replacement is not gpu and tf.config.get_backend() == "webgpu"
    replacement.host.close()


def test_eager_programs_are_recompiled_after_a_loss_without_checkpoint(gpu, monkeypatch):
    monkeypatch.setattr(device_recovery, "MAX_CHECKPOINT_BYTES", 0)
    with tf.device("/GPU:0"):
        assert (tf.ones((4, 5)) + 1.0).tolist() == [[2.0] * 5] * 4
        gpu.host.checkpoint()
        lose(gpu)
        with pytest.raises(tf.errors.UnavailableError, match="too large for a checkpoint"):
            tf.ones((4, 5)) + 1.0
        assert (tf.ones((4, 5)) + 1.0).tolist() == [[2.0] * 5] * 4
    backends.existing_backend("webgpu").host.close()


def test_checkpoints_resume_when_the_contents_fit_again(gpu, expected, monkeypatch):
    """Until then, training continues without checkpoints."""
    states = []

    def lower_limit():
        monkeypatch.setattr(device_recovery, "MAX_CHECKPOINT_BYTES", 100)
        gpu.host.checkpoint()
        states.append(gpu.host._state)

    def restore_limit():
        monkeypatch.undo()
        gpu.host.checkpoint()

    with expect_warnings():
        assert_same_training(train(train_2=lower_limit), expected)
    assert states == [None]
    with expect_warnings(ANOTHER):
        actual = train(train_1=lower_limit, train_3=restore_limit, train_4=lambda: lose(gpu))
    assert_same_training(actual, expected)


def test_an_interrupt_at_any_line_keeps_the_log_consistent_with_the_device(gpu):
    """A run is submitted and logged in one step."""
    v = tf.Variable([1.0, 2.0])
    step = tf.function(lambda: v.assign_add([1.0, 1.0]))
    step()
    logged_runs = []
    for file in map(inspect.getfile, (device_recovery.RecoverableHost, Host)):
        n, interruption = 0, None
        while interruption is None or interruption.n <= 0:
            n += 1
            gpu.host.checkpoint()
            before = v.tolist()[0]
            with (interruption := Interruption(n, file)):
                step()
            runs = sum(name == "run" for name, *_ in gpu.host._state.log)
            logged_runs.append(runs)
            assert v.tolist() == [before + runs, before + runs + 1.0], f"{file}, line {n}"
        assert n > 10
    assert set(logged_runs) == {0, 1}
    lose(gpu)
    with expect_warnings(ANOTHER):
        assert v.tolist()[0] == 2.0 + sum(logged_runs)


# ── memory ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", ["buffer_bytes", "binding_bytes"])
def test_exhausted_memory_leaves_variables_unchanged(gpu, limit):
    gpu.host.device_info = gpu.host.host.device_info = \
        replace(gpu.host.device_info, **{limit: 1 << 20})
    w = tf.Variable(tf.ones((4, 64)))

    @tf.function
    def step(x):
        w.assign_sub(1e-3 * tf.matmul(x, x @ w, transpose_a=True))
        return tf.reduce_sum(w)

    first = float(step(tf.ones((8, 4))))
    with pytest.raises(tf.errors.ResourceExhaustedError, match="use a smaller batch or model"):
        step(tf.ones((50_000, 4)))
    assert float(tf.reduce_sum(w)) == pytest.approx(first)
    assert float(step(tf.ones((8, 4)))) < first


# ── shaders, adapters ─────────────────────────────────────────────────────────────────────────


def test_a_rejected_shader(gpu, monkeypatch):
    """It raises if the backend was set, and falls back to the CPU with a warning otherwise."""
    source = shader_templates.load_source
    monkeypatch.setattr(shader_templates, "load_source",
                        lambda name: source(name) + "\nfn broken( {\n")
    with pytest.raises(tf.errors.InternalError) as caught:
        tf.ones((3, 4)) @ tf.ones((4, 5))
    text = str(caught.value)
    assert text.startswith("webgpu: the GPU refused the kernel 'gemm': parsing error: ")
    assert "fn broken( {" in text and text.endswith("please report this")
    with tf.device("/GPU:0"), expect_warnings("the kernel 'gemm'"):
        x = tf.ones((3, 4)) @ tf.ones((4, 5))
    assert x.storage.backend.name == "wasm" and x.tolist() == [[4.0] * 5] * 3


def test_without_an_adapter_set_backend_raises_and_operations_run_on_wasm():
    script = ("import tensorbrook as tf\n"
              "try: tf.config.set_backend('webgpu')\n"
              "except tf.errors.UnavailableError as error: print(error)\n"
              "print(tf.config.get_backend(), float(tf.ones(()) + 1.0))\n")
    no_driver = dict.fromkeys(("VK_DRIVER_FILES", "VK_ICD_FILENAMES"), os.devnull)
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | no_driver, text=True,
                          capture_output=True, timeout=120)
    assert done.stdout == ("backend webgpu: this machine has no adapter for WebGPU; install a "
                           "Vulkan driver, or compute on wasm\nwasm 2.0\n"), done.stderr
