"""The pieces of the benchmark: figures, rounds, table, ceiling. Nothing is timed."""

import gzip

import pytest
from benchmarks import ceiling, figures, report, rounds, run, sizes, table
from benchmarks.workloads import CONTENDERS, OURS, WORKLOADS, gemm
from wasmtime import Config, Engine, Instance, Limits, Memory, MemoryType, Module, Store


class Fake:
    """An arena whose contenders take a known time a step."""

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


def test_a_summary_has_the_middle_and_the_ends():
    assert figures.summary([4.0, 1.0, 2.0]) == (2.0, 1.0, 4.0, 3)


@pytest.mark.parametrize("number, text", [
    (0, "0"), (0.00213, "0.00213"), (7.4242, "7.42"), (128.4, "128"), (35400, "35400"),
    (0.00000213, "0.000002")])
def test_numbers_as_people_write_them(number, text):
    assert figures.significant(number) == text


def test_steps_fill_a_turn():
    assert figures.steps_for(100, 4) == 25
    assert figures.steps_for(100, 400) == 1
    assert figures.steps_for(100, 0) == 100_000


def test_contenders_take_turns_and_those_who_cannot_are_named():
    arena = Fake({OURS: 1.0, "jax-js": 2.0, "tfjs": 4.0}, AGREED)
    result = rounds.compare(arena, WORKLOAD, rounds.QUICK)
    measured = arena.turns[-9:]
    assert [name for name, _ in measured] == [OURS, "jax-js", "tfjs"] * 3
    assert {name: t["median"] for name, t in result["times_ms"].items()} == arena.step_ms
    assert result["unable"] == {"ort": "cannot"}
    assert arena.dropped


def test_what_differs_is_not_timed():
    arena = Fake({}, AGREED | {"jax-js": [1.0, 2.1]})
    with pytest.raises(rounds.Disagreement, match="tensorbrook and jax-js computed different .*"
                                                  "figure 1: 2.0 and 2.1"):
        rounds.compare(arena, WORKLOAD, rounds.QUICK)
    assert arena.turns == [] and arena.dropped
    assert figures.difference([1.0], [1.0, 2.0], 1) == "1 figures and 2"
    assert figures.difference([float("nan")], [1.0], 1)


def test_the_table_shows_times_rates_and_the_ratio():
    arena = Fake({OURS: 1.0, "jax-js": 2.0, "tfjs": 4.0}, AGREED)
    text = table.rounds_table([rounds.compare(arena, WORKLOAD, rounds.QUICK)], CONTENDERS, 10.0)
    head, rule, row = text.splitlines()
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "GEMM 128 NN", "1 (4 GF/s)", "–", "2 (2 GF/s)", "4 (1 GF/s)", "–", "2.00", "42 %"]
    assert len(head) == len(rule) == len(row)


def test_workloads_have_names_of_their_own_and_inputs():
    assert len({w.name for w in WORKLOADS}) == len(WORKLOADS)
    assert all(OURS in w.contenders and w.arrays for w in WORKLOADS)
    assert gemm(2, 3, 4, "TT").arrays == {"a": {"shape": (4, 2), "scale": 1.0},
                                          "b": {"shape": (3, 4), "scale": 1.0}}


def test_sizes_count_files_as_they_are_and_zipped(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(1000))
    assert sizes.measured([path, path]) == {
        "bytes": 2000, "gzip": 2 * len(gzip.compress(bytes(1000)))}


def test_a_report_replaces_the_run_before(tmp_path):
    path = tmp_path / "performance.md"
    path.write_text("# Performance\n\nWords.\n\n## The run\n\n### Old\n")
    found = report.Report()
    found.show(report.RUN, "now")
    found.show("New", table.pairs_table(["", "figure"], {"a": 1.5, "b": "text"}))
    found.write_into(path)
    assert path.read_text().startswith("# Performance\n\nWords.\n\n## The run\n\nnow\n\n### New\n")
    assert "Old" not in path.read_text()


def test_the_words_of_the_command():
    asked = run.arguments(["--threads", "1,4", "--only", "MLP", "--only", "start"])
    assert asked.threads == [1, 4] and asked.only == ["MLP", "start"]
    with pytest.raises(SystemExit):
        run.arguments(["--threads", "0"])


def test_the_ceiling_s_loops_do_what_they_say():
    config = Config()
    config.wasm_relaxed_simd = True
    store = Store(Engine(config))
    memory = Memory(store, MemoryType(Limits(2049, None)))
    loops = Instance(store, Module(store.engine, ceiling.module()), [memory]).exports(store)
    memory.write(store, bytes(range(128)), 0)
    loops["copy"](store, 2, 128)
    assert memory.read(store, ceiling.COPY_BYTES, ceiling.COPY_BYTES + 128) == bytes(range(128))
    loops["multiply_add"](store, 3, 0)
    asked = []
    rates = ceiling.measure(lambda *call: asked.append(call) or 2.0, threads=2, turns=3)
    assert rates["GFLOP/s"] == 96 * 4_000_000 * 2 / 2.0 / 1e6
    assert len(asked) == 12
