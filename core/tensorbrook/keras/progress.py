"""Progress output of `fit`: a line for each epoch, and in a terminal a progress bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from .callbacks import Callback

BAR_WIDTH = 20
REDRAW_SECONDS = 0.1


def format_value(value: float) -> str:
    """A number with four decimals; in scientific notation if it is small."""
    return f"{value:.4f}" if abs(value) > 1e-3 else f"{value:.4e}"


def format_results(logs: Mapping[str, float]) -> str:
    return "".join(f" - {name}: {format_value(value) if isinstance(value, float) else value}"
                   for name, value in logs.items())


def format_step_time(seconds: float) -> str:
    """The time of one step in Keras's format: 1s/step, 12ms/step or 340us/step."""
    if seconds >= 1:
        return f"{seconds:.0f}s/step"
    return f"{seconds * 1e3:.0f}ms/step" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}us/step"


class Progress(Callback):
    """Prints a line at the end of each epoch: with a full bar if `verbose` is 1, without if 2."""

    def __init__(self, verbose: int):
        super().__init__()
        self.verbose = verbose
        self.start, self.steps = 0.0, 0

    def begin(self) -> None:
        self.start, self.steps = time.perf_counter(), self.params.get("steps", 0)

    def line(self, done: int, logs: Mapping[str, float]) -> str:
        elapsed = time.perf_counter() - self.start
        step_time = format_step_time(elapsed / max(done, 1))
        steps = f"{done}/{self.steps}".rjust(2 * len(str(self.steps)) + 1)
        if self.verbose == 2:
            return f"{steps} - {elapsed:.0f}s - {step_time}{format_results(logs)}"
        filled = BAR_WIDTH * done // max(self.steps, 1)
        bar = "━" * filled + "─" * (BAR_WIDTH - filled)
        return f"{steps} {bar} {elapsed:.0f}s {step_time}{format_results(logs)}"

    def end(self, logs: Any = None) -> None:
        print(self.line(self.steps, logs or {}), flush=True)

    def on_epoch_begin(self, epoch, logs=None):
        self.begin()
        print(f"Epoch {epoch + 1}/{self.params['epochs']}", flush=True)

    def on_epoch_end(self, epoch, logs=None):
        self.end(logs)


class ProgressBar(Progress):
    """Redraws the line of the current epoch while it runs."""

    def __init__(self, verbose: int):
        super().__init__(verbose)
        self.last_drawn = 0.0

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if now - self.last_drawn >= REDRAW_SECONDS:
            self.last_drawn = now
            print("\r" + self.line(batch + 1, logs or {}), end="\033[K", flush=True)

    def end(self, logs: Any = None) -> None:
        print("\r\033[K", end="")
        super().end(logs)


def progress_callbacks(verbose: Any) -> list[Progress]:
    """A list with the callback that prints; empty if `verbose` ("auto", 0, 1 or 2) is 0."""
    verbose = 1 if verbose == "auto" else int(verbose)
    if not verbose:
        return []
    in_terminal = bool(getattr(sys.stdout, "isatty", lambda: False)())
    return [ProgressBar(verbose) if verbose == 1 and in_terminal else Progress(verbose)]
