"""Backend fallback: a program with a dtype that a backend lacks runs on another backend, however
the program is made."""

import sys
import warnings

import pytest

import backends
import tensorbrook as tf
from tensorbrook import backends as core_backends
from tensorbrook.base import dtypes
from tensorbrook.eager import EAGER

CPU, GPU = "/CPU:0", "/GPU:0"


def values(dtype):
    return tf.constant([1.0, 2.0, 4.0] if dtype.is_floating else [1, 0, 1], dtype)


def twice(x):
    return tf.where(x, x, x) if x.dtype.is_bool else x + x


def eager(x):
    return twice(x)


def traced(x):
    return tf.function(twice)(x)


def eager_under_a_tape(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = twice(x)
    return tape.gradient(y, x) * x if x.dtype.is_floating else y


def traced_under_a_tape(x):
    function = tf.function(twice)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x) * x if x.dtype.is_floating else y


def traced_with_a_tape(x):
    return tf.function(eager_under_a_tape)(x)


def eager_update(x):
    variable = tf.Variable(x)
    variable.assign(twice(variable))
    return variable.value()


def traced_update(x):
    variable = tf.Variable(x)
    tf.function(lambda: variable.assign(twice(variable)))()
    return variable.value()


def mixed_dtypes(x):
    return tf.cast(twice(tf.cast(tf.cast(x, tf.float32), x.dtype)), x.dtype)


PATHS = [eager, traced, eager_under_a_tape, traced_under_a_tape, traced_with_a_tape, eager_update,
         traced_update, mixed_dtypes]


@pytest.fixture(params=["automatic", "no GPU", "hardware GPU", CPU, GPU])
def placement(request, monkeypatch):
    """Each way to place a program that permits fallback."""
    monkeypatch.setattr(EAGER, "gpu_missing_reason", "")
    monkeypatch.setattr(EAGER, "_gpu_is_hardware", None)
    before, chains = EAGER.forced_backend, EAGER._chains
    if request.param == "no GPU":
        monkeypatch.delitem(core_backends._loaded, "webgpu", raising=False)
        monkeypatch.delitem(sys.modules, "tensorbrook.backends.webgpu.host_wgpu", raising=False)
        monkeypatch.setitem(sys.modules, "wgpu", None)
    if request.param == "hardware GPU":
        monkeypatch.setattr(EAGER, "_gpu_is_hardware", True)
    EAGER._chains, EAGER._automatic = {}, None          # chains that have not warned yet
    EAGER.force_backend(None)
    with tf.device(request.param if request.param in (CPU, GPU) else None):
        yield request.param
    EAGER._chains, EAGER._automatic = chains, None
    EAGER.force_backend(before)


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
def test_every_dtype_computes_on_every_path(path, dtype, placement):
    x = values(dtype)
    expected = x.tolist() if dtype.is_bool else [2 * v for v in x.tolist()]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = path(x)
    assert result.tolist() == expected and result.dtype == dtype
    assert len(caught) <= 1, "a chain warns once about backend reference"
    assert all("falling back to backend reference" in str(w.message) for w in caught)
    if dtype is tf.float64:
        assert len(caught) == 1 and "backend reference, which is slow" in str(caught[0].message)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
def test_without_numpy_the_error_names_the_dtype(path, placement, monkeypatch):
    monkeypatch.delitem(core_backends._loaded, "reference", raising=False)
    monkeypatch.delitem(sys.modules, "tensorbrook.backends.reference", raising=False)
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(tf.errors.UnimplementedError, match="cannot compute float64; use tf.cast"):
        path(values(tf.float64))


@pytest.mark.parametrize("name", backends.COMPILED)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
def test_a_forced_backend_names_the_dtype_that_it_lacks(path, name):
    with backends.on(name), pytest.raises(tf.errors.UnimplementedError,
                                          match=f"backend {name} cannot compute float64"):
        path(values(tf.float64))
