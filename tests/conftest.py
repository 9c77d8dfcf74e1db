"""Fixtures of the core's tests."""
import pytest

import backends
import tensorbrook as tf


@pytest.fixture(params=backends.ALL, scope="module")
def backend(request):
    """The name of a backend, on which the test computes."""
    with backends.on(request.param):
        yield request.param


@pytest.fixture
def anew(backend):
    """Layers are named from the start, and chance is the same in each test."""
    tf.keras.utils.clear_session()
    tf.random.set_seed(3)
