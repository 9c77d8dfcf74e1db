"""A pytest plugin: the CPU time and the peak memory of a run, with all its processes (Linux)."""
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PROC = Path("/proc")
INTERVAL_S = 3.0         # a sample takes about 50 ms of CPU time, mostly in the kernel


class Process(NamedTuple):
    """A process: its id is unique together with its start time. CPU time without its children."""

    pid: int
    parent: int
    start_time: int
    cpu_seconds: float


class ResourceUsage:
    """Samples the processes in a thread, and reports at the end."""

    def __init__(self):
        self.peak_bytes = 0
        self.cpu_seconds: dict[tuple[int, int], float] = {}      # by process
        self._finished = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def pytest_sessionstart(self):
        self._sampler.start()

    def _sample(self) -> None:
        while not self._finished.wait(INTERVAL_S):
            tree = list(process_tree(os.getpid()))
            self.peak_bytes = max(self.peak_bytes, sum(memory_bytes(each.pid) for each in tree))
            self.cpu_seconds |= {(p.pid, p.start_time): p.cpu_seconds for p in tree}

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter):
        self._finished.set()
        # Linux counts a child only if its parent waits for it; a browser does not wait for all.
        seconds = max(sum(self.cpu_seconds.values()), sum(os.times()[:4]))
        terminalreporter.write_line(
            f"{seconds:.0f} s of CPU time, {self.peak_bytes / 1e9:.1f} GB of memory at the peak")


def is_available() -> bool:
    return (PROC / "self" / "smaps_rollup").exists()


def process_tree(root: int) -> Iterator[Process]:
    """A process and its descendants."""
    processes = [p for p in map(read_process, PROC.glob("[0-9]*/stat")) if p is not None]
    children = defaultdict(list)
    for process in processes:
        children[process.parent].append(process)
    found = [p for p in processes if p.pid == root]
    for process in found:
        yield process
        found += children[process.pid]


def read_process(stat: Path) -> Process | None:
    """A process from its file /proc/<pid>/stat; None if it has ended."""
    try:
        fields = stat.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return Process(int(stat.parent.name), int(fields[1]), int(fields[19]),
                   ticks / os.sysconf("SC_CLK_TCK"))


def memory_bytes(pid: int) -> int:
    """The proportional set size of a process: its memory, with an equal share of shared pages."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
