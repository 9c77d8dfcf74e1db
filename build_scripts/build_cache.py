"""Work that is done once for each content of its inputs: a stamp file remembers their digest."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

# Folders that a build makes beside its sources; they never belong to its inputs.
MADE = {"node_modules", "__pycache__", ".vite", ".svelte-kit", "static"}


def files_below(folder: Path) -> list[Path]:
    """Every source file in a folder, in a fixed order."""
    inside = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [folder / path for path in sorted(inside) if MADE.isdisjoint(path.parts)]


def digest(*inputs: str | Path) -> str:
    """One hash for texts, the contents of files, and the names and contents of whole folders."""
    total = hashlib.sha256()
    for item in inputs:
        if isinstance(item, str):
            total.update(item.encode() + b"\0")
            continue
        for path in files_below(item) if item.is_dir() else [item]:
            total.update(str(path.relative_to(item.parent)).encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def is_fresh(stamp: Path, key: str, outputs: Iterable[Path]) -> bool:
    """Was this very content worked on before, and is everything that came of it still there?"""
    return stamp.exists() and stamp.read_text() == key and all(path.exists() for path in outputs)


def once(stamp: Path, key: str, outputs: Iterable[Path], work: Callable[[], None]) -> bool:
    """Do the work unless its stamp is fresh; tells whether it was done."""
    if is_fresh(stamp, key, outputs): return False
    stamp.unlink(missing_ok=True)
    work()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(key)
    return True


def stage(name: str, stamp: Path, key: str, outputs: Iterable[Path],
          work: Callable[[], None]) -> bool:
    """`once`, with a line that says what became of it."""
    start = time.monotonic()
    done = once(stamp, key, outputs, work)
    report(name, done, start)
    return done


def report(name: str, done: bool, start: float) -> None:
    """One line on a stage that began at this time of the monotonic clock."""
    note = f"made in {time.monotonic() - start:.1f} s" if done else "up to date"
    print(f"{name:<16}{note}", flush=True)
