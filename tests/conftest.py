"""Pytest hooks and fixtures of all tests: reproducible inputs, the parallel run, its memory."""
import gc
import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

import backends
import process_memory
import resource_usage
import tensorbrook as tf
from units import LONG, unit_of

pytest_plugins = ["sites"]

# A result depends on the code alone: not on chance, the load of the machine or the number of its
# cores. To search further: pytest --hypothesis-profile search
UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("search", **UNTIMED)
settings.register_profile("steady", derandomize=True, **UNTIMED)
settings.load_profile("steady")

# Two threads are the fewest that synchronize. Optimizing a program that runs once takes longer than
# it saves: the tests on lavapipe take a third less CPU time without (Mesa 22.3, 2026-11).
ENVIRONMENT = {"TENSORBROOK_THREADS": "2", "LP_NUM_THREADS": "2", "GALLIVM_PERF": "nopt",
               "JAX_ENABLE_X64": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)


def pytest_addoption(parser):
    parser.addoption("--fast", action="store_true", help="skip the tests marked slow")


def pytest_configure(config):
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.import_plugin("scheduler")
    is_worker = hasattr(config, "workerinput")
    if resource_usage.is_available() and not is_worker:
        config.pluginmanager.register(resource_usage.ResourceUsage())


def pytest_collection_modifyitems(config, items):
    """Skip slow tests for --fast; order the units: long units and units with slow tests first."""
    slow = [item for item in items if is_slow(item)]
    if config.option.fast:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not is_slow(item)]
    first, sizes = LONG | {unit_of(item.nodeid) for item in slow}, Counter(map(unit, items))
    items.sort(key=lambda item: (unit(item) not in first, -sizes[unit(item)]))


def unit(item) -> str:
    return unit_of(item.nodeid)


def is_slow(item) -> bool:
    """Whether `--fast` skips a test: it is marked `slow`, or `slow(on=...)` with that parameter."""
    marker = item.get_closest_marker("slow")
    if marker is None or not marker.kwargs:
        return marker is not None
    return hasattr(item, "callspec") and marker.kwargs["on"] in item.callspec.params.values()


def pytest_collection_finish():
    """Keep the collected tests and the imported modules out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    yield
    if nextitem is None or unit_of(nextitem.nodeid) != unit_of(item.nodeid):
        process_memory.limit()


@pytest.fixture(params=backends.ALL)
def backend(request):
    """The name of a backend, on which the test computes."""
    with backends.on(request.param):
        yield request.param


@pytest.fixture
def fast(request) -> bool:
    """Whether --fast was passed."""
    return request.config.option.fast


@pytest.fixture
def fresh_session(backend):
    """Reset the automatic layer names, and seed the random generator."""
    tf.keras.utils.clear_session()
    tf.random.set_seed(3)
