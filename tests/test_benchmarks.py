"""Benchmark: statistics, interleaved runs, targets, tables, report, peak rates; without timing."""

import gzip

import pytest
from benchmarks import (
    interleaved_runs, peak_rates, report, run, scoreboard, sizes, statistics, table, targets,
)
from benchmarks.ours.step_runner import FAMILIES
from benchmarks.workloads import IMPLEMENTATIONS, NATIVE, OURS, WORKLOADS, Target, select
from benchmarks.workloads.gemm import gemm
from wasmtime import Config, Engine, Instance, Limits, Memory, MemoryType, Module, Store


class FakeRunner:
    """A Runner whose implementations have a known time per step."""

    def __init__(self, step_ms, checks):
        self.step_ms, self.checks = step_ms, checks
        self.calls, self.dropped = [], False

    def prepare(self, workload, names):
        return {name: {"check": self.checks.get(name), "reason": "cannot"} for name in names}

    def run_steps(self, name, steps):
        self.calls.append((name, steps))
        return self.step_ms[name] * steps

    def drop(self):
        self.dropped = True


WORKLOAD = gemm(128, 128, 128)
AGREED = {OURS: [1.0, 2.0], "jax-js": [1.0, 2.0005], "tfjs": [1.0, 2.0]}


def test_a_summary_has_median_minimum_and_maximum():
    assert statistics.summarize([4.0, 1.0, 2.0]) == (2.0, 1.0, 4.0, 3)


@pytest.mark.parametrize("number, text", [
    (0, "0"), (0.00213, "0.00213"), (7.4242, "7.42"), (128.4, "128"), (35400, "35400"),
    (0.00000213, "0.000002")])
def test_significant_digits_without_exponent(number, text):
    assert statistics.significant(number) == text


def test_steps_fill_the_duration():
    assert statistics.steps_for(100, 4) == 25
    assert statistics.steps_for(100, 400) == 1
    assert statistics.steps_for(100, 0) == 100_000


def test_runs_are_interleaved_and_unsupported_implementations_are_named():
    runner = FakeRunner({OURS: 1.0, "jax-js": 2.0, "tfjs": 4.0}, AGREED)
    result = interleaved_runs.compare(runner, WORKLOAD, interleaved_runs.QUICK)
    measured = runner.calls[-9:]
    assert [name for name, _ in measured] == [OURS, "jax-js", "tfjs"] * 3
    assert {name: t["median"] for name, t in result["times_ms"].items()} == runner.step_ms
    assert result["unsupported"] == {"ort": "cannot"}
    assert runner.dropped


def test_different_results_are_not_timed():
    runner = FakeRunner({}, AGREED | {"jax-js": [1.0, 2.1]})
    with pytest.raises(interleaved_runs.ResultMismatch,
                       match="tensorbrook and jax-js computed different .*value 1: 2.0 and 2.1"):
        interleaved_runs.compare(runner, WORKLOAD, interleaved_runs.QUICK)
    assert runner.calls == [] and runner.dropped
    assert statistics.find_difference([1.0], [1.0, 2.0], 1) == "1 values and 2"
    assert statistics.find_difference([float("nan")], [1.0], 1)


def test_slow_steps_have_fewer_repetitions_and_far_slower_ones_only_the_warm_up():
    full = interleaved_runs.Timing().repetitions
    runner = FakeRunner({OURS: 1.0, "jax-js": 1000.0, "tfjs": 300.0}, AGREED)
    times = interleaved_runs.compare(runner, WORKLOAD, interleaved_runs.Timing())["repetitions_ms"]
    assert {name: len(each) for name, each in times.items()} == {
        OURS: full, "jax-js": 1, "tfjs": 1}
    runner = FakeRunner({OURS: 250.0, "jax-js": 1000.0, "tfjs": 10.0}, AGREED)
    times = interleaved_runs.compare(runner, WORKLOAD, interleaved_runs.Timing())["repetitions_ms"]
    assert {name: len(each) for name, each in times.items()} == {
        OURS: 1, "jax-js": 1, "tfjs": full}
    runner = FakeRunner({OURS: 250.0, "jax-js": 1000.0, "tfjs": 101.0}, AGREED)
    times = interleaved_runs.compare(runner, WORKLOAD, interleaved_runs.Timing())["repetitions_ms"]
    assert {name: len(each) for name, each in times.items()} == {
        OURS: 3, "jax-js": 3, "tfjs": full}


def cells(row):
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_table_shows_times_rates_ratio_and_result():
    runner = FakeRunner({OURS: 1.0, "jax-js": 2.0, "tfjs": 4.0}, AGREED)
    workload = WORKLOAD._replace(target=Target(peer=3, fma=0.4))
    rows = [interleaved_runs.compare(runner, workload, interleaved_runs.QUICK)]
    text = table.targets_table(rows, IMPLEMENTATIONS, targets.PeakRates(10.0))
    head, rule, row = text.splitlines()
    assert cells(row) == [
        "GEMM 128 NN", "1 (4.2 GF/s)", "2 (2.1 GF/s)", "4 (1 GF/s)", "2.00", "42%",
        "3x the best peer, 40% of peak rate", "missed: 2.00x"]
    assert cells(head)[:4] == ["ms", OURS, "jax-js", "tfjs"]
    assert len(head) == len(rule) == len(row)
    assert cells(table.times_table(rows, IMPLEMENTATIONS).splitlines()[2]) == cells(row)[:5]


RESULT = {"name": "a", "flops": 8_000_000, "moved_bytes": 2_000_000, "same_size_gemm_ms": 0.5,
          "target": Target(peer=2, fma=0.9)._asdict(),
          "times_ms": {OURS: {"median": 1.0}, "tfjs": {"median": 4.0}, "jax-js": {"median": 5.0}}}


def test_verdicts_compare_metrics_with_the_target():
    metrics = targets.achieved(RESULT, targets.PeakRates(10.0, 4.0), 0.5)
    assert metrics == {"peer": 4, "jax": 5, "fma": 0.8, "copied": 0.5, "gemm": 0.5, "torch": 0.5}
    assert targets.verdict(Target(peer=4, copied=0.5)._asdict(), metrics) == "met"
    assert targets.verdict(Target(peer=5, fma=0.9)._asdict(), metrics) == "missed: 4.00x, 80%"
    assert targets.verdict(Target(torch=0.4)._asdict(), {"peer": 4}) == "met except for torch"
    assert targets.verdict(Target(peer=2)._asdict(), {"fma": 0.8}) == "met"  # no peer
    assert targets.verdict(Target(peer=2)._asdict(), {}) == "no result"
    assert targets.verdict(Target()._asdict(), metrics) == ""


def test_a_workload_that_ours_does_not_support_is_a_failure():
    unsupported = {OURS: "no such op", "tfjs": "no kernel"}
    assert run.failures_of({"name": "a", "unsupported": unsupported}) == [
        "a: tensorbrook cannot, no such op"]
    assert run.failures_of({"name": "a", "unsupported": {"tfjs": "no kernel"}}) == []


def test_single_values_have_upper_limits():
    text = table.pairs_table(["", "value"], {"µs of an eager op": 31.0,
                                             "a, arena / peak live": 1.05, "MB": 2.0})
    assert [cells(row)[2] for row in text.splitlines()[2:]] == [
        "missed: 30 at most", "met: 1.1 at most", "–"]


def test_the_scoreboard_combines_page_and_native_results():
    page = {n: {"workloads": [RESULT | {"times_ms": {OURS: {"median": 2.0 / n}}}],
                "peak rates": {peak_rates.GFLOPS: 16.0 * n, peak_rates.COPY_1M_FLOATS: 4.0}}
            for n in (1, 2)}
    native = {2: [{"name": "a", "times_ms": {"torch": {"median": 0.5}}}]}
    rows = scoreboard.rows({"page": page, "native": native})
    head, _, row = scoreboard.format_table(rows).splitlines()
    shown = dict(zip(cells(head), cells(row)))
    assert (shown["ms, 1"], shown["ms, 2"], shown["scaling"]) == ("2", "1", "2.00x")
    assert shown["gemm"] == "25% / 50%" and shown["jax"] == "–"
    assert (shown["fma"], shown["torch"]) == ("25% / 25%", "– / 0.50x")
    assert shown["result, 1"] == shown["result, 2"] == "missed: 25%"


def test_workloads_have_unique_names_and_inputs():
    assert len({w.name for w in WORKLOADS}) == len(WORKLOADS)
    assert all(OURS in w.implementations and w.arrays for w in WORKLOADS)
    assert {w.family for w in WORKLOADS} == set(FAMILIES)
    assert gemm(2, 3, 4, "TT").arrays == {"a": {"shape": (4, 2), "scale": 1.0, "offset": 0.0},
                                          "b": {"shape": (3, 4), "scale": 1.0, "offset": 0.0}}


def test_selection_of_workloads():
    assert select(WORKLOADS, [], False) == list(WORKLOADS)
    assert {w.name for w in select(WORKLOADS, [], True)} == {"GEMM 128 NN", "MLP training step"}
    assert [w.name for w in select(NATIVE, ["lenet"], True)] == ["LeNet training step"]


def test_sizes_are_raw_and_gzipped(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(1000))
    assert sizes.measure([path, path]) == {
        "bytes": 2000, "gzip": 2 * len(gzip.compress(bytes(1000)))}


def test_sizes_need_every_script_of_the_runtime(tmp_path):
    assets = tmp_path / "assets"
    assets.mkdir()
    for name in sizes.RUNTIME:
        (assets / f"{name}-Ab12.js").write_text("1")
    assert len(sizes.runtime_scripts(tmp_path)) == len(sizes.RUNTIME)
    (assets / "worker-Ab12.js").unlink()
    with pytest.raises(FileNotFoundError, match="no script worker;"):
        sizes.runtime_scripts(tmp_path)


def test_a_report_replaces_the_previous_run(tmp_path):
    path = tmp_path / "performance.md"
    path.write_text("# Performance\n\nWords.\n\n## The run\n\n### Old\n")
    new = report.Report()
    new.show(report.RUN, "now")
    new.show("New", table.pairs_table(["", "value"], {"a": 1.5, "b": "text"}))
    new.write_into(path)
    assert path.read_text().startswith("# Performance\n\nWords.\n\n## The run\n\nnow\n\n### New\n")
    assert "Old" not in path.read_text()


def test_command_line_options():
    options = run.arguments(["--threads", "1,4", "--only", "MLP", "--only", "start"])
    assert options.threads == [1, 4] and options.only == ["MLP", "start"]
    with pytest.raises(SystemExit):
        run.arguments(["--threads", "0"])


def test_the_peak_rate_loops_compute_and_are_counted():
    config = Config()
    config.wasm_relaxed_simd = True
    store = Store(Engine(config))
    memory = Memory(store, MemoryType(Limits(2049, None)))
    loops = Instance(store, Module(store.engine, peak_rates.module()), [memory]).exports(store)
    memory.write(store, bytes(range(128)), 0)
    loops["copy"](store, 2, 128)
    target = peak_rates.MEMORY_BYTES
    assert memory.read(store, target, target + 128) == bytes(range(128))
    loops["multiply_add"](store, 3, 0)
    calls = []
    rates = peak_rates.measure(lambda *call: calls.append(call) or 2.0, threads=2, repetitions=3)
    assert rates[peak_rates.GFLOPS] == 96 * 4_000_000 * 2 / 2.0 / 1e6
    assert rates[peak_rates.COPY_1M_FLOATS] == 2 * 4 * 1024 * 1024 * 400 / 2.0 / 1e6
    assert len(calls) == 16
