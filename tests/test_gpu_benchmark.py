"""The GPU's benchmark runs from end to end without what a bare machine lacks. Nothing is timed."""
import json
import os
import subprocess
import sys

import pytest
from benchmarks.gpu.run import Devices, arguments
from benchmarks.gpu.workloads import ENOUGH_FLOPS, workloads
from benchmarks.interleaved_runs import QUICK, compare
from benchmarks.workloads import OURS
from benchmarks.workloads.spec import TORCH
from environment import ROOT

ABSENT = ("wasmtime", "torch", "jax", "playwright", "tensorflow")
COMMAND = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT}))          # each is now an ImportError
from benchmarks.gpu.run import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_command_needs_no_engine_and_no_peer(tmp_path):
    out, page = tmp_path / "gpu.json", tmp_path / "gpu.md"
    only = [word for name in ("product", "add", "GPT") for word in ("--only", name)]
    words = ["--small", "--ways", "--peer", "none", "--json", out, "--into", page, *only]
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], cwd=ROOT, env=bare, text=True,
                          capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    software = found["machine"]["adapter"]["is_software"]
    assert found["says nothing about speed"] == software
    assert ("A software adapter" in page.read_text()) == software
    assert [row["name"] for row in found["rounds"]] == [
        "2 products of 64", "add, 0.0625 M", "GPT training step"]
    assert all(row["times_ms"][OURS]["median"] > 0 for row in found["rounds"])
    assert all("no PyTorch" in row["unable"][TORCH] for row in found["rounds"])
    step = found["steps"]["GPT training step"]
    assert step["submits"] == step["host calls"] == 1
    assert step["pipelines"] > 0 and step["dispatches"] >= step["pipelines"]
    ways, = found["ways"]
    assert ways["chosen"] == "elements"
    assert set(ways["microseconds"]) == {"elements", *(f"tiles of {n}" for n in (32, 64, 128))}
    assert list(found["clocked"]) == [row["name"] for row in found["rounds"]]
    for each in found["clocked"].values():
        assert 0 < each["busy_ms"] <= each["ms"] * (1 + 1e-9) and each["kernels"]
    assert "in kernels" in page.read_text()
    assert found["alone"]["host µs of a captured step"] > 0


def test_what_is_measured_on_a_real_gpu():
    names = [w.name for w in workloads(small=False, stream_bytes=1 << 27)]
    assert names == ["32 products of 512", "32 products of 1024", "12 products of 2048",
                     "2 products of 4096", "add, 32 M", "relu, 32 M", "scale, 32 M",
                     "MLP training step", "LeNet training step", "GPT training step"]
    *_, gpt = workloads(small=False, stream_bytes=1 << 27)
    assert gpt.arrays["x"]["shape"] == (32, 256) and gpt.options["depth"] == 6
    assert gpt.flops > ENOUGH_FLOPS


class Counting:
    """A contender whose device is done when it is waited for."""

    def __init__(self):
        self.open = self.done = 0

    def program(self, family, arrays, options):
        return self.step, lambda: [1.0]

    def step(self):
        self.open += 1

    def wait(self):
        self.done, self.open = self.done + self.open, 0


def test_a_turn_ends_when_the_device_has_done_it():
    ours = Counting()
    arena = Devices({OURS: ours}, {TORCH: "not here"})
    workload = workloads(small=True, stream_bytes=1 << 20)[0]
    found = compare(arena, workload, QUICK)
    assert ours.done > 0 and ours.open == 0
    assert found["unable"] == {TORCH: "not here"} and list(found["times_ms"]) == [OURS]


def test_the_words_of_the_gpu_s_command():
    assert arguments([]).peer == "cuda" and not arguments([]).small
    with pytest.raises(SystemExit):
        arguments(["--peer", "tpu"])
