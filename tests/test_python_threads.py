"""Python threads: one backend, programs that run one at a time, and reads of complete updates."""
import importlib
import threading
from types import SimpleNamespace

import pytest

import backends
import tensorbrook as tf
from tensorbrook import backends as core_backends
from tensorbrook.eager import EAGER
from tensorbrook.tensor import fetch_all


@pytest.fixture
def wasm():
    with backends.on("wasm"):
        yield EAGER.backend


def matmul_program(n: int):
    """(a call of a program with an arena of n * n floats, its result)."""
    x = tf.ones((n, n))
    f = tf.function(lambda x: tf.reduce_sum((x @ x) @ (x @ x)))
    program = f.get_concrete_function(x)
    assert program.plan.arena_size >= 4 * n * n
    return lambda: float(program([x])), float(n) ** 5


def test_the_arena_is_not_moved_while_a_program_runs(wasm, monkeypatch):
    (small, small_result), (large, large_result) = matmul_program(8), matmul_program(160)
    run, results = wasm.host.run, []
    thread = threading.Thread(target=lambda: results.append(large()))

    def run_while_other_thread_starts(*arguments):
        monkeypatch.setattr(wasm.host, "run", run)
        before = wasm.arena.address
        thread.start()
        thread.join(0.2)
        assert wasm.arena.address == before
        return run(*arguments)

    monkeypatch.setattr(wasm.host, "run", run_while_other_thread_starts)
    wasm.arena = type(wasm.arena)(wasm, 4096)
    assert small() == small_result
    thread.join()
    assert results == [pytest.approx(large_result, rel=1e-5)]


# ── creation of a backend ──


def run_in_threads(*functions):
    """Run functions in one thread each; returns their results."""
    results = [None] * len(functions)

    def run(i):
        results[i] = functions[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("name", backends.ALL)
def test_threads_that_use_a_backend_first_share_it(name, monkeypatch):
    barrier, created = threading.Barrier(2), []

    def create():
        try:
            barrier.wait(0.3)               # passes only if two threads create a backend
        except threading.BrokenBarrierError:
            pass
        created.append(SimpleNamespace(is_lost=False))
        return created[-1]

    module = importlib.import_module(f"tensorbrook.backends.{name}")
    monkeypatch.setattr(module, "create", create)
    monkeypatch.setattr(core_backends, "_loaded", {})
    first, second = run_in_threads(*[lambda: core_backends.get_backend(name)] * 2)
    assert first is second and len(created) == 1


# ── reads during an update in place ──


@pytest.fixture(params=backends.COMPILED)
def updated(request):
    """(a Variable of many elements, a step that adds 1 to each in place, the backend)."""
    with backends.on(request.param):
        variable = tf.Variable(tf.zeros(1 << 18))
        step = tf.function(lambda: variable.assign_add(tf.ones(1 << 18)))
        step()
        step()
        yield variable, step.get_concrete_function(), EAGER.backend


READS = {
    "numpy": lambda v: v.numpy().tolist(),
    "tolist": lambda v: v.tolist(),
    "value": lambda v: v.value().tolist(),
    "fetch_all": lambda v: fetch_all([v])[0].tolist(),
}


@pytest.mark.parametrize("read", READS)
def test_a_read_never_sees_a_part_of_an_update(read, updated):
    variable, step, _ = updated
    done = threading.Event()

    def train():
        for _ in range(25):
            step([])
        done.set()

    def read_repeatedly():
        found = [set(READS[read](variable))]
        while not done.is_set():
            found.append(set(READS[read](variable)))
        return found

    _, found = run_in_threads(train, read_repeatedly)
    assert all(len(values) == 1 for values in found)


def read_during(run_host, monkeypatch, function, step):
    """Run `step`, and `function` in another thread from the moment when the step has chosen its
    outputs; returns the result of `function`."""
    host, run, results = run_host, run_host.run, []
    thread = threading.Thread(target=lambda: results.append(function()))

    def run_while_other_thread_reads(*arguments):
        monkeypatch.setattr(host, "run", run)
        thread.start()
        thread.join(0.2)
        return run(*arguments)

    monkeypatch.setattr(host, "run", run_while_other_thread_reads)
    step([])
    thread.join()
    return results[0]


def test_a_value_that_is_read_during_an_update_does_not_change(updated, monkeypatch):
    variable, step, backend = updated

    def read():
        value = variable.value()
        return value, value.tolist()

    value, at_first = read_during(backend.host, monkeypatch, read, step)
    step([])
    assert set(at_first) in ({2.0}, {3.0}) and value.tolist() == at_first


def test_a_read_waits_for_the_update_in_progress(updated, monkeypatch):
    variable, step, backend = updated
    values = read_during(backend.host, monkeypatch, variable.tolist, step)
    assert set(values) == {3.0}
