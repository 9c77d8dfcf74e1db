"""Programs run by several Python threads: one at a time, and without moving the arena in use."""
import threading

import pytest

import backends
import tensorbrook as tf
from tensorbrook.eager import EAGER


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
