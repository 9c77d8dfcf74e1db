"""`tensorbrook profile`: every kernel of a script's programs is timed, natively and in a page."""

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


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("where", [[], ["--page"]], ids=["native", "page"])
def test_every_kernel_is_timed(tmp_path: Path, where: list[str]):
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = profile(*where, "--threads", "2", "--trace", tmp_path / "out.json",
                   tmp_path / "script.py", "--", "a", "--b")
    assert done.returncode == 3, done.stderr
    first, summary, head, *rows = done.stdout.splitlines()
    assert first.startswith("words ['a', '--b'] kernels ") and first.endswith("fell True")
    kernels = int(first.split()[4])
    assert "on 2 threads" in summary and head.split()[:3] == ["kernel", "calls", "ms"]
    trace = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["traceEvents"]
    spans = [e for e in trace if e["ph"] == "X"]
    step = max(e["args"]["program"] for e in spans if e["name"].find("gemm(") >= 0)
    ours = [e for e in spans if e["args"]["program"] == step]
    assert {e["args"]["kernel"] for e in ours} == set(range(kernels))
    assert {e["tid"] for e in ours} == {0, 1}, "a track for each thread"
    assert all(e["ts"] >= 0 and e["dur"] >= 0 for e in spans)
    for n in range(kernels):
        assert sum(row.startswith(f"{step}.{n} ") and " 5  " in row for row in rows) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"script.py", "out.json"}


def test_a_script_that_is_not_there(tmp_path: Path):
    done = profile(tmp_path / "none.py")
    assert done.returncode == 2 and "there is no script" in done.stderr


@pytest.mark.parametrize("name, why", [
    ("reference", "has no kernels to time"), ("webgpu", "cannot tell how long each kernel takes")])
def test_a_backend_whose_kernels_have_no_times_says_so(tmp_path: Path, name: str, why: str):
    (tmp_path / "script.py").write_text("print(1)", encoding="utf-8")
    done = profile(tmp_path / "script.py", TENSORBROOK_BACKEND=name)
    assert done.returncode == 2 and why in done.stderr


def test_an_error_of_the_script_is_told_with_what_ran(tmp_path: Path):
    path = tmp_path / "script.py"
    path.write_text("import tensorbrook as tf\ntf.exp(tf.ones(3))\n1 / 0\n", encoding="utf-8")
    done = profile(path)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
    assert f'File "{path}", line 3' in done.stderr and "profiled.py" not in done.stderr
    assert "loop (3,): exp" in done.stdout
