"""Fixtures of the core's tests."""
import pytest
from hypothesis import HealthCheck, settings

import backends
import tensorbrook as tf

# What a run finds hangs on the code alone, not on chance nor on how busy the machine is. To look
# further: pytest --hypothesis-profile search
UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("search", **UNTIMED)
settings.register_profile("steady", derandomize=True, **UNTIMED)
settings.load_profile("steady")


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
