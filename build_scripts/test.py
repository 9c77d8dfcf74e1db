"""Set up, build, and run all tests on all cores, including those of the page.

    python build_scripts/test.py [--fast | --browsers] [--workers N] [-- arguments of pytest]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import environment
import build
import chromium
import firefox_webkit
import vulkan

# Python in a worker uses up to 2 GB (tests/process_memory.py); the rest is for two browsers and
# their software GPU.
WORKER_BYTES = 4 << 30
# Libraries that would start a thread for each core in every worker. tests/conftest.py limits the
# threads of Tensorbrook and of lavapipe.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
SLOWEST = 20
MAX_WORKER_RESTARTS = 4  # a worker ends by a crash, or by the timeout of a test (pyproject.toml)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Set up, build, run all tests on all cores.")
    parser.add_argument("--fast", action="store_true",
                        help="skip the page and the tests that are marked slow")
    parser.add_argument("--browsers", action="store_true",
                        help="run only the tests in Firefox and WebKit")
    parser.add_argument("--workers", type=int, metavar="N",
                        help="number of test processes; 0 runs the tests in this process, for a "
                             "debugger; default: one for each core and 4 GB of free memory")
    parser.add_argument("pytest", nargs="*", metavar="-- ARGUMENT", help="passed to pytest")
    return parser.parse_args()


def default_workers() -> int:
    """One worker for each core that this process may use, limited by the free memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, available_bytes() // WORKER_BYTES))


def available_bytes() -> int:
    """The memory that is available to new processes; unlimited where the system does not say."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists(): return sys.maxsize
    fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) << 10


def main() -> int:
    options = arguments()
    environment.enter("build", "gpu", "page", "test")
    build.build(page=not options.fast)
    vulkan.ensure()
    workers = default_workers() if options.workers is None else options.workers
    command = [str(environment.PYTHON), "-m", "pytest", f"--numprocesses={workers}",
               f"--max-worker-restart={MAX_WORKER_RESTARTS}", f"--durations={SLOWEST}"]
    if options.fast:
        command += ["--fast", "--ignore", str(environment.ROOT / "tests" / "web"),
                    "--ignore", str(environment.ROOT / "tests" / "browsers")]
    else:
        os.environ["TENSORBROOK_CHROMIUM"] = chromium.find()
        firefox_webkit.install()
    if options.browsers:
        command.append(str(environment.ROOT / "tests" / "browsers"))
    os.environ.update(ONE_THREAD)
    os.chdir(environment.ROOT)
    return environment.hand_over(command + options.pytest)


if __name__ == "__main__":
    sys.exit(main())
