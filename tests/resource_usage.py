"""A pytest plugin: the CPU time and the peak memory of a run, with all its processes (Linux)."""
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
INTERVAL_S = 3.0         # a sample takes about 50 ms of CPU time, mostly in the kernel


def is_available() -> bool:
    return (PROC / "self" / "smaps_rollup").exists()


class ResourceUsage:
    """Samples the memory in a thread, and reports at the end."""

    def __init__(self):
        self.peak_bytes = 0
        self._finished = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def pytest_sessionstart(self):
        self._sampler.start()

    def _sample(self) -> None:
        while not self._finished.wait(INTERVAL_S):
            self.peak_bytes = max(self.peak_bytes, sum(map(memory_bytes, process_tree())))

    def pytest_terminal_summary(self, terminalreporter):
        self._finished.set()
        seconds = sum(os.times()[:4])        # with the children that have ended
        terminalreporter.write_line(
            f"{seconds:.0f} s of CPU time, {self.peak_bytes / 1e9:.1f} GB of memory at the peak")


def process_tree() -> Iterator[int]:
    """This process and its descendants."""
    children = defaultdict(list)
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            parent = stat.read_text(errors="replace").rpartition(")")[2].split()[1]
        except OSError:                  # the process has ended
            continue
        children[int(parent)].append(int(stat.parent.name))
    found = [int((PROC / "self").readlink().name)]
    for pid in found:
        yield pid
        found += children[pid]


def memory_bytes(pid: int) -> int:
    """The proportional set size of a process: its memory, with an equal share of shared pages."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
