"""`tensorbrook profile`: times every kernel of a script's programs, natively and in a page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "core"
SCRIPT = """\
import sys
import tensorbrook as tf

w = tf.Variable(tf.ones((300, 200)) * 0.01)

@tf.function
def step(x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(tf.nn.relu(tf.matmul(x, w)) - 1.0))
    w.assign_sub(0.1 * tape.gradient(loss, w))
    return loss

x = tf.ones((64, 300))
losses = [float(step(x)) for _ in range(5)]
print("words", sys.argv[1:], "kernels", len(step.plan.steps), "fell", losses[-1] < losses[0])
sys.exit(3)
"""


def profile(*arguments: str | Path, **settings: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "tensorbrook", "profile", *map(str, arguments)],
                          capture_output=True, text=True, timeout=240, check=False,
                          env=os.environ | settings | {"PYTHONPATH": str(CORE)})


# The options of each environment, and the tracks of its trace.
ENVIRONMENTS = {
    "native": ([], {"thread 0", "thread 1"}),
    "page": (["--page"], {"thread 0", "thread 1"}),
    "gpu": (["--page", "--backend", "webgpu", "--software-gpu"], {"GPU"}),
}


@pytest.mark.usefixtures("page_build")
@pytest.mark.parametrize("options, tracks", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_every_kernel_is_timed(tmp_path: Path, options: list[str], tracks: set[str]):
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    process = profile(*options, "--threads", "2", "--trace", tmp_path / "out.json",
                      tmp_path / "script.py", "--", "a", "--b")
    assert process.returncode == 3, process.stderr
    first, summary, head, *rows = process.stdout.splitlines()
    assert first.startswith("words ['a', '--b'] kernels ") and first.endswith("fell True")
    kernels = int(first.split()[4])
    assert ("on 2 threads" in summary) == ("GPU" not in tracks) and "GFLOP/s, " in summary
    assert head.split()[:3] == ["kernel", "calls", "ms"]
    trace = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["traceEvents"]
    spans = [e for e in trace if e["ph"] == "X"]
    step = max(e["args"]["program"] for e in spans if e["name"].find("gemm(") >= 0)
    step_spans = [e for e in spans if e["args"]["program"] == step]
    assert {e["args"]["kernel"] for e in step_spans} == set(range(kernels))
    assert {e["tid"] for e in step_spans} == set(range(len(tracks))), "a track for each thread"
    assert {e["args"]["name"] for e in trace if e["ph"] == "M"} == tracks
    assert all(e["ts"] >= 0 and e["dur"] >= 0 for e in spans)
    for n in range(kernels):
        assert sum(row.startswith(f"{step}.{n} ") and " 5  " in row for row in rows) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"script.py", "out.json"}


def test_a_missing_script(tmp_path: Path):
    process = profile(tmp_path / "none.py")
    assert process.returncode == 2 and "there is no script" in process.stderr


def test_a_script_that_uses_both_devices_has_a_table_for_each(tmp_path: Path):
    source = 'with tf.device("/GPU:0"):\n    x = tf.exp(tf.ones(3))\n'
    path = tmp_path / "script.py"
    path.write_text(f"import tensorbrook as tf\ntf.sin(tf.ones(3))\n{source}", encoding="utf-8")
    process = profile("--trace", tmp_path / "out.json", path)
    assert process.returncode == 0, process.stderr
    cpu, gpu = process.stdout.split("\nkernel")[1:]
    assert "loop (3,): sin" in cpu and "loop (3,): exp" in gpu
    trace = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["traceEvents"]
    assert {(e["pid"], e["name"]) for e in trace if "exp" in e["name"] or "sin" in e["name"]} == {
        (1, "1.0 loop (3,): sin (one thread)"), (2, "1.0 loop (3,): exp")}


def test_a_backend_without_kernels_is_refused(tmp_path: Path):
    (tmp_path / "script.py").write_text("print(1)", encoding="utf-8")
    process = profile("--backend", "reference", tmp_path / "script.py")
    assert process.returncode == 2 and "has no kernels to time" in process.stderr


def test_an_error_of_the_script_is_reported_after_the_profile(tmp_path: Path):
    path = tmp_path / "script.py"
    path.write_text("import tensorbrook as tf\ntf.exp(tf.ones(3))\n1 / 0\n", encoding="utf-8")
    process = profile(path)
    assert process.returncode == 1 and "ZeroDivisionError" in process.stderr
    assert f'File "{path}", line 3' in process.stderr and "profile_runner.py" not in process.stderr
    assert "loop (3,): exp" in process.stdout
