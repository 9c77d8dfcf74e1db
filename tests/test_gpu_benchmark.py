"""The GPU benchmark runs end to end, also without the engine and peers; nothing is timed."""
import json
import os
import subprocess
import sys

import pytest
from benchmarks.gpu.run import DeviceRunner, arguments
from benchmarks.gpu.workloads import MIN_FLOPS, workloads
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


@pytest.mark.slow
def test_the_command_needs_no_engine_and_no_peer(tmp_path):
    out, page = tmp_path / "gpu.json", tmp_path / "gpu.md"
    only = [word for name in ("product", "add", "GPT") for word in ("--only", name)]
    words = ["--small", "--algorithms", "--peer", "none", "--json", out, "--into", page, *only]
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], cwd=ROOT, env=bare, text=True,
                          capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    software = results["machine"]["adapter"]["is_software"]
    assert results["software adapter"] == software
    assert ("A software adapter" in page.read_text()) == software
    assert [row["name"] for row in results["workloads"]] == [
        "2 products of 64", "add, 0.0625 M", "GPT training step"]
    assert all(row["times_ms"][OURS]["median"] > 0 for row in results["workloads"])
    assert all("no PyTorch" in row["unsupported"][TORCH] for row in results["workloads"])
    step = results["steps"]["GPT training step"]
    assert step["submits"] == step["host calls"] == 1
    assert step["pipelines"] > 0 and step["dispatches"] >= step["pipelines"]
    algorithms, = results["algorithms"]
    assert algorithms["selected"] == "per element"
    assert set(algorithms["microseconds"]) == {
        "per element", *(f"tiles of {n}" for n in (32, 64, 128))}
    assert list(results["gpu times"]) == [row["name"] for row in results["workloads"]]
    for each in results["gpu times"].values():
        assert 0 < each["busy_ms"] <= each["ms"] * (1 + 1e-9) and each["kernels"]
    assert "in kernels" in page.read_text()
    assert results["device"]["host µs of a captured step"] > 0


def test_the_workloads_of_a_real_gpu():
    names = [w.name for w in workloads(small=False, max_tensor_bytes=1 << 27)]
    assert names == ["32 products of 512", "32 products of 1024", "12 products of 2048",
                     "2 products of 4096", "add, 32 M", "relu, 32 M", "scale, 32 M",
                     "MLP training step", "LeNet training step", "GPT training step"]
    *_, gpt = workloads(small=False, max_tensor_bytes=1 << 27)
    assert gpt.arrays["x"]["shape"] == (32, 256) and gpt.options["depth"] == 6
    assert gpt.flops > MIN_FLOPS


class CountingDevice:
    """An implementation whose device finishes its steps in `wait`."""

    def __init__(self):
        self.pending = self.finished = 0

    def program(self, family, arrays, options):
        return self.step, lambda: [1.0]

    def step(self):
        self.pending += 1

    def wait(self):
        self.finished, self.pending = self.finished + self.pending, 0


def test_timing_ends_when_the_device_is_idle():
    ours = CountingDevice()
    runner = DeviceRunner({OURS: ours}, {TORCH: "not here"})
    workload = workloads(small=True, max_tensor_bytes=1 << 20)[0]
    result = compare(runner, workload, QUICK)
    assert ours.finished > 0 and ours.pending == 0
    assert result["unsupported"] == {TORCH: "not here"} and list(result["times_ms"]) == [OURS]


def test_command_line_options():
    assert arguments([]).peer == "cuda" and not arguments([]).small
    with pytest.raises(SystemExit):
        arguments(["--peer", "tpu"])
