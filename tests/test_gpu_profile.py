"""GPU profiles: every kernel has times, and profiling does not change results."""
import gc
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest

import tensorbrook as tf
from backends import gpu, on
from tensorbrook.backends.webgpu import WebGPU, host_wgpu
from tensorbrook.backends.webgpu.profile import GpuProfile, timestamps_are_valid, serialized_spans
from tensorbrook.eager import EAGER
from tensorbrook.studio.profile_runner import chrome_trace, format_table, kernel_rows

RUNS = 3


@contextmanager
def profiled(**device_info):
    """Replace backend webgpu by one that profiles its programs; yield the profile."""
    with gpu(**device_info), pytest.MonkeyPatch.context() as patch:
        patch.setattr(WebGPU, "profile", GpuProfile())
        yield WebGPU.profile


def training() -> tuple[list[bytes], int]:
    """Return the results of some training steps, and the number of kernels of a step.

    Some kernels take several dispatches."""
    w = tf.Variable(np.linspace(-1, 1, 60000, dtype=np.float32).reshape(300, 200))
    x = tf.constant(np.linspace(0, 1, 19200, dtype=np.float32).reshape(64, 300))

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(tf.nn.relu(tf.matmul(x, w)) - 1.0))
        w.assign_sub(0.1 * tape.gradient(loss, w))
        return loss

    losses = [step(x).numpy().tobytes() for _ in range(RUNS)]
    return [*losses, w.numpy().tobytes()], len(step.plan.steps)


def recurrent() -> tuple[list[bytes], int]:
    """Return the results of a scan, whose slices are copied, and the number of its kernels."""
    w = tf.constant(np.linspace(-1, 1, 49, dtype=np.float32).reshape(7, 7))
    x = tf.constant(np.linspace(0, 1, 5 * 3 * 7, dtype=np.float32).reshape(5, 3, 7))

    @tf.function
    def run(x):
        return tf.scan(lambda h, x: tf.tanh(tf.matmul(h, w) + x), x, tf.zeros((3, 7)))

    return [run(x).numpy().tobytes() for _ in range(RUNS)], len(run.plan.steps)


def spans(profile) -> list[dict]:
    return [e for e in chrome_trace([profile])["traceEvents"] if e["ph"] == "X"]


@pytest.mark.parametrize("program", [training, recurrent])
def test_every_kernel_has_times_and_results_are_the_same(program):
    with on("webgpu"):
        expected, _ = program()
    with profiled() as profile:
        actual, kernels = program()
    assert actual == expected
    times = profile.programs[-1]
    assert times.runs == RUNS and [t.calls for t in times.steps] == [RUNS] * kernels
    assert all(t.busy_ms > 0 for t in times.steps)
    assert sum(t.busy_ms for t in times.steps) <= times.total_ms * (1 + 1e-9)
    names = {n for p in profile.programs for n in p.names}
    assert {row.name for row in kernel_rows(profile)} == names


@pytest.mark.parametrize("program", [training, recurrent])
def test_kernels_in_the_trace_do_not_overlap_and_contain_their_dispatches(program):
    with profiled() as profile:
        _, kernels = program()
    times = profile.programs[-1]
    events = [e for e in spans(profile) if e["args"]["program"] == times.number]
    kernel_events = [e for e in events if e["name"] in times.names]
    assert [e["args"]["kernel"] for e in kernel_events] == [*range(kernels)] * RUNS
    slack = 1e-3                                     # microseconds: rounding errors of sums
    assert all(a["ts"] + a["dur"] <= b["ts"] + slack
               for a, b in zip(kernel_events, kernel_events[1:]))
    dispatches = [e for e in events if e not in kernel_events]
    assert dispatches, "no kernel has several dispatches"
    for d in dispatches:
        assert any(d["args"] == e["args"] and e["ts"] - slack <= d["ts"] and
                   d["ts"] + d["dur"] <= e["ts"] + e["dur"] + slack for e in kernel_events)


def test_a_printed_plan_shows_the_dispatches_of_its_kernels():
    with gpu():
        v = tf.Variable(tf.zeros((3, 7)))
        f = tf.function(lambda x: v.assign(tf.scan(lambda h, x: tf.matmul(h, x), x, v)[-1]))
        x = tf.ones((5, 7, 7))
        before = tf.config.get_counters()["kernels"]
        f(x)
        count = tf.config.get_counters()["kernels"] - before
        shown = str(f.plan)
    with on("wasm"):
        assert "dispatch" not in str(f.plan) and "thread" in str(f.plan)
    assert "thread" not in shown and "barrier" not in shown
    assert f"2 kernels, {count} dispatches" in shown
    assert shown.count(" 0: 5 dispatches") == 2 and " 1: 1 dispatch, " in shown


def test_dispatches_of_a_scan_have_the_names_of_its_body_kernels():
    with profiled() as profile:
        recurrent()
    times = profile.programs[-1]
    n, = (n for n, name in enumerate(times.names) if "scan of 5 iterations" in name)
    nested_names = {e["name"].split(" ")[0] for e in spans(profile)} - {
        name.split(" ")[0] for p in profile.programs for name in p.names}
    body_kernels = len(times.plan.steps[n].body)
    assert {f"{times.number}.{n}.{i}" for i in range(body_kernels)} <= nested_names


@pytest.mark.parametrize("ticks, spans", [
    ((1, 4, 6, 9), [(1, 4), (6, 9)]),
    ((1, 4, 2, 9), [(1, 4), (4, 9)]),                # begins before the previous one ends
    ((1, 9, 2, 4, 9, 10), [(1, 9), (9, 9), (9, 10)]),
])
def test_the_overlap_of_two_dispatches_counts_once(ticks, spans):
    assert timestamps_are_valid(ticks) and list(serialized_spans(ticks)) == spans


@pytest.mark.parametrize("ticks", [(0, 0), (1, 4, 0, 0), (1, 4, 9, 8)])
def test_timestamps_of_a_reset_clock_are_invalid(ticks):
    assert not timestamps_are_valid(ticks)


def test_timestamps_continue_in_another_query_set_when_one_is_full(monkeypatch):
    monkeypatch.setattr(host_wgpu, "MAX_QUERIES_PER_SET", 32)    # 256 bytes of timestamps
    with profiled() as profile:
        recurrent()
    times = profile.programs[-1]
    assert times.runs == RUNS and all(t.busy_ms > 0 for t in times.steps)


def test_a_gpu_without_timestamps_reports_times_of_whole_programs():
    with profiled(timestamp_period_ns=0.0) as profile:
        _, kernels = training()
        shown = format_table(profile, top=40)
    times = profile.programs[-1]
    whole = next(row for row in kernel_rows(profile) if row.name == times.summary)
    assert whole.calls == RUNS and whole.ms > 0
    assert f"{times.number} {kernels} kernels, " in whole.name and "dispatches" in whole.name
    assert "it has no timestamp-query" in shown and "peak rates are unknown" in shown
    assert not profile.events


def test_runs_on_a_replacement_device_have_times_but_runs_on_the_cpu_have_none(monkeypatch):
    def fail_to_reopen():
        raise tf.errors.UnavailableError("webgpu", "there is no adapter", "compute on wasm")

    with profiled() as profile:
        f, x, host = tf.function(lambda x: tf.exp(x) * 2.0), tf.ones(5), EAGER.backend.host.host
        runs, values = [], []
        for lose in (False, True, True):
            if lose: host.destroy()
            with pytest.warns(RuntimeWarning, match="taken over") if lose else nullcontext():
                values.append(f(x).numpy().tobytes())
            runs.append(next(p.runs for p in profile.programs if "exp" in p.names[0]))
            if lose: monkeypatch.setattr(host, "reopen_device", fail_to_reopen)
        shown = format_table(profile, top=40)
    assert runs == [1, 2, 2] and "peak rates are unknown" in shown
    assert values[0] == values[1]


def test_programs_are_not_profiled_after_the_profile_ends():
    with profiled() as profile:
        training()
    gc.collect()
    count = len(profile.programs)
    with on("webgpu"):
        training()
    assert len(profile.programs) == count
