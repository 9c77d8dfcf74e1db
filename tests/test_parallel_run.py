"""The parallel run: its scheduling, and the report of a test that crashes or hangs."""
import os
import re
import runpy
import subprocess
import sys

import pytest

import environment
from resource_usage import memory_bytes, process_tree
from units import DIVIDED, LONG, unit_of

ABORTING = "import os\ndef test_before(): pass\ndef test_aborts(): os.abort()\n"
HANGING = "import time\ndef test_hangs(): time.sleep(600)\n"
TIMEOUT_S = 8            # far above the time of the other tests, even on a busy machine
PASSING = "".join(f"def test_{n}(): pass\n" for n in range(4))
FILES = {"tests/test_a.py": ABORTING + PASSING, "tests/test_b.py": HANGING + PASSING,
         "tests/web/test_page.py": PASSING}


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> subprocess.CompletedProcess[str]:
    """A run of these files on two workers."""
    folder = tmp_path_factory.mktemp("run")
    for name, source in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "scheduler", "-n", "2", "-v", "-rA",
               "-o", f"faulthandler_timeout={TIMEOUT_S}", "-o", "faulthandler_exit_on_timeout=true",
               "-p", "no:hypothesispytest", "--rootdir", str(folder), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder,
                          env=os.environ | {"PYTHONPATH": str(environment.ROOT / "tests")})


def test_a_crash_and_a_timeout_are_failures_of_one_test_each(ran):
    failures = [line for line in ran.stdout.splitlines() if line.startswith("FAILED")]
    assert [line.partition(" - ")[0] for line in sorted(failures)] == [
        "FAILED tests/test_a.py::test_aborts", "FAILED tests/test_b.py::test_hangs"], ran.stdout
    assert "2 failed, 13 passed" in ran.stdout.splitlines()[-1]
    assert ran.returncode == 1


def test_the_stack_of_a_test_that_hangs_is_printed(ran):
    assert re.search(r"Timeout \(.*test_b\.py\", line 2 in test_hangs", ran.stderr, re.DOTALL)


def test_one_worker_drives_the_page(ran):
    passed = re.findall(r"^\[(gw\d)\] .* PASSED tests/(\S+)::", ran.stdout, re.MULTILINE)
    assert [worker for worker, path in passed if path == "web/test_page.py"] == ["gw0"] * 4
    assert ("gw1", "test_a.py") in passed


BUSY = """
import time
block = b"x" * 60_000_000
while time.process_time() < 0.5: pass
print(flush=True)
input()
"""


def test_the_usage_of_a_child_process_is_measured():
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        processes = {process.pid: process for process in process_tree(os.getpid())}
        assert 0.4 < processes[child.pid].cpu_seconds < 2
        assert 60e6 < memory_bytes(child.pid) < 120e6
        child.communicate(b"\n")
    assert child.pid not in {process.pid for process in process_tree(os.getpid())}


def test_the_files_of_the_schedule_exist():
    assert [path for path in {*DIVIDED, *LONG} if not (environment.ROOT / path).exists()] == []


def test_all_tests_of_an_operation_are_in_one_unit():
    (path, count), = DIVIDED.items()
    names = ("test_value[wasm-tanh-eager]", "test_derivatives[webgpu-tanh-called]", "test_x[tanh]")
    assert len({unit_of(f"{path}::{name}") for name in names}) == 1
    assert len({unit_of(f"{path}::test_x[{n}]") for n in range(1000)}) == count


@pytest.mark.parametrize("cores, gigabytes, workers",
                         [(2, 19, 2), (8, 19, 4), (4, 64, 4), (2, 3, 1)])
def test_workers_are_as_many_as_cores_and_memory_allow(cores, gigabytes, workers, monkeypatch):
    script = runpy.run_path(str(environment.ROOT / "build_scripts" / "test.py"))
    default_workers = script["default_workers"]
    monkeypatch.setitem(default_workers.__globals__, "available_bytes", lambda: gigabytes << 30)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert default_workers() == workers
