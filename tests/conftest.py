"""Fixtures of the core's tests."""
import pytest

import backends


@pytest.fixture(params=backends.ALL, scope="module")
def backend(request):
    """The name of a backend, on which the test computes."""
    with backends.on(request.param):
        yield request.param
