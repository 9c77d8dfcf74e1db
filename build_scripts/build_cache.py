"""Build cache: run a build step only when its inputs changed; a stamp file holds their digest."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

# Folders of build outputs within source folders; never inputs of a step.
OUTPUT_FOLDERS = {"node_modules", "__pycache__", ".vite", ".svelte-kit", "static"}


def files_below(folder: Path) -> list[Path]:
    """All source files below a folder, sorted."""
    relative = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [folder / path for path in sorted(relative) if OUTPUT_FOLDERS.isdisjoint(path.parts)]


def digest(*inputs: str | Path) -> str:
    """Hash strings, contents of files, and names and contents of all files of folders."""
    total = hashlib.sha256()
    for item in inputs:
        if isinstance(item, str):
            total.update(item.encode() + b"\0")
            continue
        for path in files_below(item) if item.is_dir() else [item]:
            total.update(str(path.relative_to(item.parent)).encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def is_up_to_date(stamp: Path, key: str, outputs: Iterable[Path]) -> bool:
    """Whether the stamp holds this key and all outputs exist."""
    return stamp.exists() and stamp.read_text() == key and all(path.exists() for path in outputs)


def run_if_changed(stamp: Path, key: str, outputs: Iterable[Path],
                   work: Callable[[], None]) -> bool:
    """Do the work unless it is up to date; returns whether it was done."""
    if is_up_to_date(stamp, key, outputs): return False
    stamp.unlink(missing_ok=True)
    work()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(key)
    return True


def build_step(name: str, stamp: Path, key: str, outputs: Iterable[Path],
               work: Callable[[], None]) -> bool:
    """`run_if_changed`, with a printed line about the result."""
    start = time.monotonic()
    done = run_if_changed(stamp, key, outputs, work)
    report(name, done, start)
    return done


def report(name: str, done: bool, start: float) -> None:
    """Print the result of a step that started at this time of the monotonic clock."""
    note = f"built in {time.monotonic() - start:.1f} s" if done else "up to date"
    print(f"{name:<16}{note}", flush=True)
