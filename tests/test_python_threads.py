"""Programs that several threads of Python run at once: one after the other, in their own memory."""
import threading

import pytest

import backends
import tensorbrook as tf
from tensorbrook.eager import EAGER


@pytest.fixture
def wasm():
    with backends.on("wasm"):
        yield EAGER.backend


def squared(n: int):
    """A program with an arena of n * n floats, and what it computes."""
    x = tf.ones((n, n))
    f = tf.function(lambda x: tf.reduce_sum((x @ x) @ (x @ x)))
    program = f.get_concrete_function(x)
    assert program.plan.arena_size >= 4 * n * n
    return lambda: float(program([x])), float(n) ** 5


def test_no_program_moves_the_arena_while_another_runs(wasm, monkeypatch):
    (small, its), (large, others) = squared(8), squared(160)
    run, found = wasm.host.run, []
    other = threading.Thread(target=lambda: found.append(large()))

    def run_beside(*words):
        monkeypatch.setattr(wasm.host, "run", run)
        before = wasm.arena.address
        other.start()
        other.join(0.2)
        assert wasm.arena.address == before
        return run(*words)

    monkeypatch.setattr(wasm.host, "run", run_beside)
    wasm.arena = type(wasm.arena)(wasm, 4096)
    assert small() == its
    other.join()
    assert found == [pytest.approx(others, rel=1e-5)]
