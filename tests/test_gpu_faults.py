"""A GPU that is lost, has no memory left, refuses a shader, or is not there."""

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
    """A backend webgpu with a device of its own, and computing on it."""
    made = WebGPU(Host())
    with on("reference"):
        monkeypatch.setitem(backends._loaded, "webgpu", made)
        with on("webgpu"):
            yield made
        monkeypatch.undo()
        tf.random.set_seed(0)                # or its state would lie on what is no more
    made.host.close()


def lose(gpu):
    gpu.host.host.destroy()


def no_other(monkeypatch, gpu):
    def renew():
        raise tf.errors.UnavailableError("webgpu", "there is no adapter", "compute on wasm")
    monkeypatch.setattr(gpu.host.host, "reopen_device", renew)


@contextmanager
def told(*texts):
    """That a warning says each of these, and nothing else is warned of."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    said = "\n".join(str(w.message) for w in found)
    assert len(found) == len(texts) and all(t in said for t in texts), said


ANOTHER, CPU = "another device has taken over", "the CPU has taken over"


class At(keras.callbacks.Callback):
    """Calls something when so many batches have been learnt or measured."""

    def __init__(self, **calls):
        super().__init__()
        self.calls, self.done = calls, {"train": 0, "test": 0}

    def on_train_batch_end(self, batch, logs=None):
        self.count("train")

    def on_test_batch_end(self, batch, logs=None):
        self.count("test")

    def count(self, kind):
        self.done[kind] += 1
        self.calls.get(f"{kind}_{self.done[kind]}", lambda: None)()


def trained(batch_size=32, **calls):
    """(history, weights) of a model with dropout, shuffled batches and validation."""
    tf.random.set_seed(3)
    model = keras.Sequential([keras.layers.Dense(16, activation="relu"), keras.layers.Dropout(0.2),
                              keras.layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(X, Y, epochs=2, batch_size=batch_size, verbose=0, validation_split=0.2,
                        callbacks=[At(**calls)])
    return history.history, [w.numpy() for w in model.weights]


@pytest.fixture(scope="module")
def undisturbed():
    with on("webgpu"):
        return trained()


def same(found, right, tolerance=0.0):
    for ours, theirs in zip([*found[0].values(), *found[1]], [*right[0].values(), *right[1]]):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


# ── lost devices ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kept, lost", [
    (None, "train_1"), (None, "train_5"), ("train_2", "train_3"), ("train_4", "test_2"),
    ("test_1", "train_6")])
def test_fit_goes_on_as_if_nothing_had_been(gpu, undisturbed, kept, lost):
    with told(ANOTHER):
        found = trained(**{kept or "": gpu.host.checkpoint}, **{lost: lambda: lose(gpu)})
    same(found, undisturbed)


def test_losses_one_after_the_other(gpu, undisturbed):
    with told(ANOTHER, ANOTHER, ANOTHER):
        found = trained(train_2=lambda: lose(gpu), train_3=lambda: lose(gpu),
                        train_4=gpu.host.checkpoint, test_2=lambda: lose(gpu))
    same(found, undisturbed)


def test_fit_goes_on_without_a_gpu(gpu, undisturbed, monkeypatch):
    no_other(monkeypatch, gpu)
    x = tf.constant([1.0, 2.0]) * 3.0
    flags = tf.constant([1, 2]) > 1
    with told(CPU):
        found = trained(train_2=gpu.host.checkpoint, train_4=lambda: lose(gpu))
    same(found, undisturbed, tolerance=1e-5)
    assert (x * 2.0).tolist() == [6.0, 12.0] and flags.tolist() == [False, True]
    assert (x * 2.0).storage.backend.name == "wasm"


KIND = "a GPU of another kind has taken over"
OTHER = {"name": "another", "storage_buffers": 8, "max_invocations": 128, "offset_alignment": 256,
         "min_subgroup_size": 0}


def another_kind(monkeypatch, gpu, **device_info):
    """That the next device after this one can do less."""
    host = gpu.host.host
    renew = host.reopen_device

    def smaller():
        renew()
        host.device_info = replace(host.device_info, **OTHER | device_info)

    monkeypatch.setattr(host, "reopen_device", smaller)


def test_a_device_of_another_kind(gpu, undisturbed, monkeypatch):
    """Programs are compiled anew for it, and it is a device like any other."""
    another_kind(monkeypatch, gpu)
    raw, held = gpu.host.host, tf.Variable([1.0, 2.0])
    step = tf.function(lambda: held.assign_add([1.0, 1.0]))
    step()
    before = held.value()
    gpu.host.checkpoint()
    lose(gpu)
    with told(KIND):
        step()
    heir = backends.existing_backend("webgpu")
    assert heir is not gpu and heir.host.device_info.name == "another"
    assert heir.target.max_buffers_per_kernel == 8
    step()
    assert (before.tolist(), held.tolist()) == ([2.0, 3.0], [4.0, 5.0])
    assert held.storage.backend is heir and tf.config.get_backend() == "webgpu"
    raw.destroy()
    with told(ANOTHER):
        assert held.tolist() == [4.0, 5.0] and before.tolist() == [2.0, 3.0]
    heir.host.close()


def test_what_somebody_holds_stays_on_a_device_of_another_kind(gpu, monkeypatch):
    another_kind(monkeypatch, gpu)
    v = tf.Variable([1.0, 2.0])
    step = tf.function(lambda: v.assign_add([1.0, 1.0]))
    step()
    gpu.host.checkpoint()
    step()
    before = v.value()
    step()
    lose(gpu)
    with told(KIND):
        assert (before.tolist(), v.tolist()) == ([3.0, 4.0], [4.0, 5.0])
    backends.existing_backend("webgpu").host.close()


def test_fit_goes_on_on_a_device_of_another_kind(gpu, undisturbed, monkeypatch):
    another_kind(monkeypatch, gpu)
    with told(KIND):
        found = trained(train_2=gpu.host.checkpoint, train_4=lambda: lose(gpu))
    same(found, undisturbed, tolerance=1e-5)
    gc.collect()
    there = [held for held in gpu.host.host._buffers.values() if not isinstance(held, bytes)]
    assert len(there) < 5, "what went to the other device is still held here"
    backends.existing_backend("webgpu").host.close()


@pytest.mark.parametrize("other", [True, False], ids=["another GPU", "no GPU"])
def test_float16_goes_on_where_there_is_none(gpu, monkeypatch, other):
    EAGER.chain_for_device("CPU").warned_about_reference = False   # an earlier test may have warned
    if other:
        another_kind(monkeypatch, gpu, f16=False)
    else:
        no_other(monkeypatch, gpu)
    v = tf.Variable([1.0, 2.0])
    half = tf.cast(v, tf.float16)

    @tf.function
    def step():
        v.assign_add(tf.cast(tf.cast(v, tf.float16) * 0.5 + half, tf.float32))

    step()
    lose(gpu)
    with told(KIND if other else CPU, "falling back to backend reference, which is slow"):
        step()
        assert v.tolist() == [4.75, 9.5]
    with tf.device("/GPU:0"), told():
        step()
    assert v.tolist() == [8.125, 16.25] and half.tolist() == [1.0, 2.0]


def test_a_device_that_the_program_itself_loses(gpu, monkeypatch):
    """As a shader that takes so long that the driver ends it: on each device anew."""
    inner, v = gpu.host.host, tf.Variable([1.0, 2.0])
    run = inner.run

    def deadly(*numbers):
        inner.destroy()
        run(*numbers)

    monkeypatch.setattr(inner, "run", deadly)
    with told(CPU):
        v.assign_add([1.0, 1.0])
        v.assign(v * 2.0)
    assert v.tolist() == [4.0, 6.0]


def test_a_loop_of_ones_own(gpu):
    w, x = tf.Variable([[0.5], [0.25]]), tf.constant([[1.0, 2.0], [3.0, 4.0]])
    seen, before = [], x @ w

    @tf.function
    def step(rate):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ w - 1.0))
        w.assign_sub(rate * tape.gradient(loss, w))
        return loss

    for i in range(6):
        if i == 3:
            lose(gpu)
        with told(*[ANOTHER] * (i == 3)):
            seen.append(float(step(tf.constant(0.01))))
    lose(gpu)
    with told(ANOTHER):
        assert before.tolist() == [[1.0], [2.5]]
    with on("reference"):
        v, right = np.array([[0.5], [0.25]]), []
        for _ in range(6):
            error = x.numpy() @ v - 1
            right.append((error**2).mean())
            v -= 0.01 * x.numpy().T @ error
    np.testing.assert_allclose(seen, right, rtol=1e-5)


def test_a_model_larger_than_what_is_kept(gpu, undisturbed, monkeypatch):
    monkeypatch.setattr(device_recovery, "MAX_CHECKPOINT_BYTES", 100)
    with pytest.raises(tf.errors.UnavailableError, match="too large for a checkpoint; create "
                       "the model again, or load a saved one"):
        trained(train_2=gpu.host.checkpoint, train_3=lambda: lose(gpu))
    assert gpu.is_lost
    monkeypatch.setattr(device_recovery, "MAX_CHECKPOINT_BYTES", 1 << 30)
    x = tf.constant([3.0, 4.0])
    assert (x + 1.0).tolist() == [4.0, 5.0], "what comes goes to a new device"
    drawn = tf.random.normal((8,))
    assert set(drawn.tolist()).isdisjoint(tf.random.normal((8,)).tolist()), "a stream goes on"
    same(trained(), undisturbed)
    heir = backends.existing_backend("webgpu")
    assert heir is not gpu and tf.config.get_backend() == "webgpu"
    heir.host.close()


def test_programs_of_single_operations_go_with_their_device(gpu, monkeypatch):
    monkeypatch.setattr(device_recovery, "MAX_CHECKPOINT_BYTES", 0)
    with tf.device("/GPU:0"):
        assert (tf.ones((4, 5)) + 1.0).tolist() == [[2.0] * 5] * 4
        gpu.host.checkpoint()
        lose(gpu)
        with pytest.raises(tf.errors.UnavailableError, match="too large for a checkpoint"):
            tf.ones((4, 5)) + 1.0
        assert (tf.ones((4, 5)) + 1.0).tolist() == [[2.0] * 5] * 4
    backends.existing_backend("webgpu").host.close()


def test_a_model_that_is_too_large_for_a_while(gpu, undisturbed, monkeypatch):
    """It trains as any other, and once more fits it is kept again."""
    begun = []

    def too_large():
        monkeypatch.setattr(device_recovery, "MAX_CHECKPOINT_BYTES", 100)
        gpu.host.checkpoint()
        begun.append(gpu.host._state)

    def room_again():
        monkeypatch.undo()
        gpu.host.checkpoint()

    with told():
        same(trained(train_2=too_large), undisturbed)
    assert begun == [None]
    with told(ANOTHER):
        found = trained(train_1=too_large, train_3=room_again, train_4=lambda: lose(gpu))
    same(found, undisturbed)


def test_an_interrupt_at_any_line_leaves_what_the_journal_says(gpu):
    """That a step is done on the device is written down in one go with it."""
    v = tf.Variable([1.0, 2.0])
    step = tf.function(lambda: v.assign_add([1.0, 1.0]))
    step()
    done = []
    for file in map(inspect.getfile, (device_recovery.RecoverableHost, Host)):
        n, interruption = 0, None
        while interruption is None or interruption.n <= 0:
            n += 1
            gpu.host.checkpoint()
            before = v.tolist()[0]
            with (interruption := Interruption(n, file)):
                step()
            done.append(sum(name == "run" for name, *_ in gpu.host._state.log))
            assert v.tolist() == [before + done[-1], before + done[-1] + 1.0], f"{file}, line {n}"
        assert n > 10
    assert set(done) == {0, 1}
    lose(gpu)
    with told(ANOTHER):
        assert v.tolist()[0] == 2.0 + sum(done)


# ── memory ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", ["buffer_bytes", "binding_bytes"])
def test_what_does_not_fit_leaves_all_as_it_was(gpu, limit):
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


def test_a_shader_that_is_refused(gpu, monkeypatch):
    source = shader_templates.load_source
    monkeypatch.setattr(shader_templates, "load_source",
                        lambda name: source(name) + "\nfn broken( {\n")
    with pytest.raises(tf.errors.InternalError) as refused:
        tf.ones((3, 4)) @ tf.ones((4, 5))
    text = str(refused.value)
    assert text.startswith("webgpu: the GPU refused the kernel 'gemm': parsing error: ")
    assert "fn broken( {" in text and text.endswith("please report this")
    with tf.device("/GPU:0"), told("the kernel 'gemm'"):
        x = tf.ones((3, 4)) @ tf.ones((4, 5))
    assert x.storage.backend.name == "wasm" and x.tolist() == [[4.0] * 5] * 3


def test_where_there_is_no_adapter():
    script = ("import tensorbrook as tf\n"
              "try: tf.config.set_backend('webgpu')\n"
              "except tf.errors.UnavailableError as error: print(error)\n"
              "print(tf.config.get_backend(), float(tf.ones(()) + 1.0))\n")
    nowhere = dict.fromkeys(("VK_DRIVER_FILES", "VK_ICD_FILENAMES"), os.devnull)
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | nowhere, text=True,
                          capture_output=True, timeout=120)
    assert done.stdout == ("backend webgpu: this machine has no adapter for WebGPU; install a "
                           "Vulkan driver, or compute on wasm\nwasm 2.0\n"), done.stderr
