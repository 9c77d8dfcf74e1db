"""Benchmark modules: statistics, interleaved runs, tables, targets, peak rates; without timing."""

import gzip

import pytest
from benchmarks import (
    interleaved_runs,
    peak_rates,
    report,
    run,
    scoreboard,
    sizes,
    statistics,
    table,
    targets,
)
from benchmarks.ours.step_runner import FAMILIES
from benchmarks.workloads import CONTENDERS, NATIVE, OURS, WORKLOADS, Goal, wanted
from benchmarks.workloads.gemm import gemm
from wasmtime import Config, Engine, Instance, Limits, Memory, MemoryType, Module, Store


class FakeImplementations:
    """Benchmark implementations with a known time per step."""

    def __init__(self, step_ms, checks):
        self.step_ms, self.checks = step_ms, checks
        self.turns, self.dropped = [], False

    def prepare(self, workload, names):
        return {name: {"check": self.checks.get(name), "reason": "cannot"} for name in names}

    def turn(self, name, steps):
        self.turns.append((name, steps))
        return self.step_ms[name] * steps

    def drop(self):
        self.dropped = True


WORKLOAD = gemm(128, 128, 128)
AGREED = {OURS: [1.0, 2.0], "jax-js": [1.0, 2.0005], "tfjs": [1.0, 2.0]}


def test_a_summary_has_the_median_and_the_range():
    assert statistics.summary([4.0, 1.0, 2.0]) == (2.0, 1.0, 4.0, 3)


@pytest.mark.parametrize("value, text", [
    (0, "0"), (0.00213, "0.00213"), (7.4242, "7.42"), (128.4, "128"), (35400, "35400"),
    (0.00000213, "0.000002")])
def test_numbers_have_three_significant_digits(value, text):
    assert statistics.significant(value) == text


def test_the_number_of_steps_fills_the_time():
    assert statistics.steps_for(100, 4) == 25
    assert statistics.steps_for(100, 400) == 1
    assert statistics.steps_for(100, 0) == 100_000


def test_implementations_run_interleaved_and_failures_have_a_reason():
    fake = FakeImplementations({OURS: 1.0, "jax-js": 2.0, "tfjs": 4.0}, AGREED)
    result = interleaved_runs.compare(fake, WORKLOAD, interleaved_runs.QUICK)
    measured = fake.turns[-9:]
    assert [name for name, _ in measured] == [OURS, "jax-js", "tfjs"] * 3
    assert {name: t["median"] for name, t in result["times_ms"].items()} == fake.step_ms
    assert result["unable"] == {"ort": "cannot"}
    assert fake.dropped


def test_different_results_are_an_error_before_any_timing():
    fake = FakeImplementations({}, AGREED | {"jax-js": [1.0, 2.1]})
    message = "tensorbrook and jax-js computed different .*figure 1: 2.0 and 2.1"
    with pytest.raises(interleaved_runs.Disagreement, match=message):
        interleaved_runs.compare(fake, WORKLOAD, interleaved_runs.QUICK)
    assert fake.turns == [] and fake.dropped
    assert statistics.difference([1.0], [1.0, 2.0], 1) == "1 figures and 2"
    assert statistics.difference([float("nan")], [1.0], 1)


def test_slow_implementations_run_fewer_rounds():
    max_turns = interleaved_runs.Pace().turns
    fake = FakeImplementations({OURS: 1.0, "jax-js": 1000.0, "tfjs": 300.0}, AGREED)
    times = interleaved_runs.compare(fake, WORKLOAD, interleaved_runs.Pace())["turns_ms"]
    assert {name: len(turns) for name, turns in times.items()} == {
        OURS: max_turns, "jax-js": 1, "tfjs": 1}
    fake = FakeImplementations({OURS: 250.0, "jax-js": 1000.0, "tfjs": 10.0}, AGREED)
    times = interleaved_runs.compare(fake, WORKLOAD, interleaved_runs.Pace())["turns_ms"]
    assert {name: len(turns) for name, turns in times.items()} == {
        OURS: 1, "jax-js": 1, "tfjs": max_turns}
    fake = FakeImplementations({OURS: 250.0, "jax-js": 1000.0, "tfjs": 101.0}, AGREED)
    times = interleaved_runs.compare(fake, WORKLOAD, interleaved_runs.Pace())["turns_ms"]
    assert {name: len(turns) for name, turns in times.items()} == {
        OURS: 3, "jax-js": 3, "tfjs": max_turns}


def cells(row):
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_table_shows_times_rates_ratios_and_targets():
    fake = FakeImplementations({OURS: 1.0, "jax-js": 2.0, "tfjs": 4.0}, AGREED)
    workload = WORKLOAD._replace(goal=Goal(peer=3, fma=0.4))
    rows = [interleaved_runs.compare(fake, workload, interleaved_runs.QUICK)]
    text = table.goals_table(rows, CONTENDERS, targets.Ceiling(10.0))
    head, rule, row = text.splitlines()
    assert cells(row) == [
        "GEMM 128 NN", "1 (4.2 GF/s)", "2 (2.1 GF/s)", "4 (1 GF/s)", "2.00", "42%",
        "3x the best peer, 40% of the ceiling", "no: 2.00x"]
    assert cells(head)[:4] == ["ms", OURS, "jax-js", "tfjs"]
    assert len(head) == len(rule) == len(row)
    assert cells(table.rounds_table(rows, CONTENDERS).splitlines()[2]) == cells(row)[:5]


RESULT = {"name": "a", "flops": 8_000_000, "moved_bytes": 2_000_000, "same_size_ms": 0.5,
          "goal": Goal(peer=2, fma=0.9)._asdict(),
          "times_ms": {OURS: {"median": 1.0}, "tfjs": {"median": 4.0}, "jax-js": {"median": 5.0}}}


def test_targets_are_compared_with_measurements():
    ratios = targets.reached(RESULT, targets.Ceiling(10.0, 4.0), 0.5)
    assert ratios == {"peer": 4, "jax": 5, "fma": 0.8, "copied": 0.5, "gemm": 0.5, "torch": 0.5}
    assert targets.verdict(Goal(peer=4, copied=0.5)._asdict(), ratios) == "met"
    assert targets.verdict(Goal(peer=5, fma=0.9)._asdict(), ratios) == "no: 4.00x, 80%"
    assert targets.verdict(Goal(torch=0.4)._asdict(), {"peer": 4}) == "met but for torch"
    assert targets.verdict(Goal(peer=2)._asdict(), {"fma": 0.8}) == "met"  # there is no peer
    assert targets.verdict(Goal(peer=2)._asdict(), {}) == "no figure"
    assert targets.verdict(Goal()._asdict(), ratios) == ""


def test_a_workload_that_tensorbrook_cannot_run_is_a_failure():
    unable = {OURS: "no such op", "tfjs": "no kernel"}
    assert run.failures_of({"name": "a", "unable": unable}) == ["a: tensorbrook cannot, no such op"]
    assert run.failures_of({"name": "a", "unable": {"tfjs": "no kernel"}}) == []


def test_single_numbers_are_compared_with_limits():
    text = table.pairs_table(["", "figure"], {"µs of an eager op": 31.0, "a, to the least": 1.05,
                                              "MB": 2.0})
    assert [cells(row)[2] for row in text.splitlines()[2:]] == [
        "no: 30 at most", "met: 1.1 at most", "–"]


def test_the_scoreboard_compares_all_targets():
    page = {n: {"workloads": [RESULT | {"times_ms": {OURS: {"median": 2.0 / n}}}],
                "ceiling": {peak_rates.GFLOPS: 16.0 * n, peak_rates.STREAMED: 4.0}} for n in (1, 2)}
    native = {2: [{"name": "a", "times_ms": {"torch": {"median": 0.5}}}]}
    rows = scoreboard.rows({"page": page, "native": native})
    head, _, row = scoreboard.shown(rows).splitlines()
    shown = dict(zip(cells(head), cells(row)))
    assert (shown["ms, 1"], shown["ms, 2"], shown["scaling"]) == ("2", "1", "2.00x")
    assert shown["gemm"] == "25% / 50%" and shown["jax"] == "–"
    assert (shown["fma"], shown["torch"]) == ("25% / 25%", "– / 0.50x")
    assert shown["reached, 1"] == shown["reached, 2"] == "no: 25%"


def test_workloads_have_unique_names_and_inputs():
    assert len({w.name for w in WORKLOADS}) == len(WORKLOADS)
    assert all(OURS in w.contenders and w.arrays for w in WORKLOADS)
    assert {w.family for w in WORKLOADS} == set(FAMILIES)
    assert gemm(2, 3, 4, "TT").arrays == {"a": {"shape": (4, 2), "scale": 1.0, "offset": 0.0},
                                          "b": {"shape": (3, 4), "scale": 1.0, "offset": 0.0}}


def test_workloads_are_selected_by_name():
    assert wanted(WORKLOADS, [], False) == list(WORKLOADS)
    assert {w.name for w in wanted(WORKLOADS, [], True)} == {"GEMM 128 NN", "MLP training step"}
    assert [w.name for w in wanted(NATIVE, ["lenet"], True)] == ["LeNet training step"]


def test_sizes_are_raw_and_gzipped(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(1000))
    assert sizes.measured([path, path]) == {
        "bytes": 2000, "gzip": 2 * len(gzip.compress(bytes(1000)))}


def test_a_report_replaces_the_previous_run(tmp_path):
    path = tmp_path / "performance.md"
    path.write_text("# Performance\n\nWords.\n\n## The run\n\n### Old\n")
    new = report.Report()
    new.show(report.RUN, "now")
    new.show("New", table.pairs_table(["", "figure"], {"a": 1.5, "b": "text"}))
    new.write_into(path)
    assert path.read_text().startswith("# Performance\n\nWords.\n\n## The run\n\nnow\n\n### New\n")
    assert "Old" not in path.read_text()


def test_command_line_arguments():
    options = run.arguments(["--threads", "1,4", "--only", "MLP", "--only", "start"])
    assert options.threads == [1, 4] and options.only == ["MLP", "start"]
    with pytest.raises(SystemExit):
        run.arguments(["--threads", "0"])


def test_the_peak_rate_loops_copy_and_count_correctly():
    config = Config()
    config.wasm_relaxed_simd = True
    store = Store(Engine(config))
    memory = Memory(store, MemoryType(Limits(2049, None)))
    loops = Instance(store, Module(store.engine, peak_rates.module()), [memory]).exports(store)
    data, end = bytes(range(128)), peak_rates.COPY_BYTES + 128
    memory.write(store, data, 0)
    loops["copy"](store, 2, 128)
    assert memory.read(store, peak_rates.COPY_BYTES, end) == data
    loops["multiply_add"](store, 3, 0)
    calls = []
    rates = peak_rates.measure(lambda *call: calls.append(call) or 2.0, threads=2, turns=3)
    assert rates[peak_rates.GFLOPS] == 96 * 4_000_000 * 2 / 2.0 / 1e6
    assert rates[peak_rates.STREAMED] == 2 * 4 * 1024 * 1024 * 400 / 2.0 / 1e6
    assert len(calls) == 16
