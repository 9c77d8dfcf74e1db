"""What `fit` prints while it works: a line for each epoch, and a moving bar in a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from .callbacks import Callback

WIDTH = 20
REDRAW_SECONDS = 0.1


def shown(value: float) -> str:
    """Four digits after the point, or as a power of ten where that would hide it."""
    return f"{value:.4f}" if abs(value) > 1e-3 else f"{value:.4e}"


def results(logs: Mapping[str, float]) -> str:
    return "".join(f" - {name}: {shown(value) if isinstance(value, float) else value}"
                   for name, value in logs.items())


def per_step(seconds: float) -> str:
    """The time of one step as Keras writes it: 1s, 12ms or 340us."""
    if seconds >= 1:
        return f"{seconds:.0f}s/step"
    return f"{seconds * 1e3:.0f}ms/step" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}us/step"


class Progress(Callback):
    """A line at the end of each epoch. `verbose=1` draws a full bar, 2 leaves it away."""

    def __init__(self, verbose: int):
        super().__init__()
        self.verbose = verbose
        self.start, self.steps = 0.0, 0

    def begin(self) -> None:
        self.start, self.steps = time.perf_counter(), self.params.get("steps", 0)

    def line(self, done: int, logs: Mapping[str, float]) -> str:
        taken = time.perf_counter() - self.start
        each = per_step(taken / max(done, 1))
        counted = f"{done}/{self.steps}".rjust(2 * len(str(self.steps)) + 1)
        if self.verbose == 2:
            return f"{counted} - {taken:.0f}s - {each}{results(logs)}"
        filled = WIDTH * done // max(self.steps, 1)
        bar = "━" * filled + "─" * (WIDTH - filled)
        return f"{counted} {bar} {taken:.0f}s {each}{results(logs)}"

    def end(self, logs: Any = None) -> None:
        print(self.line(self.steps, logs or {}), flush=True)

    def on_epoch_begin(self, epoch, logs=None):
        self.begin()
        print(f"Epoch {epoch + 1}/{self.params['epochs']}", flush=True)

    def on_epoch_end(self, epoch, logs=None):
        self.end(logs)


class MovingBar(Progress):
    """The same line, drawn again and again while an epoch goes on."""

    def __init__(self, verbose: int):
        super().__init__(verbose)
        self.drawn = 0.0

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if now - self.drawn >= REDRAW_SECONDS:
            self.drawn = now
            print("\r" + self.line(batch + 1, logs or {}), end="\033[K", flush=True)

    def end(self, logs: Any = None) -> None:
        print("\r\033[K", end="")
        super().end(logs)


def progress(verbose: Any) -> list[Progress]:
    """The callback that prints, or none: verbose is "auto", 0, 1 or 2."""
    verbose = 1 if verbose == "auto" else int(verbose)
    if not verbose:
        return []
    in_terminal = bool(getattr(sys.stdout, "isatty", lambda: False)())
    return [MovingBar(verbose) if verbose == 1 and in_terminal else Progress(verbose)]
