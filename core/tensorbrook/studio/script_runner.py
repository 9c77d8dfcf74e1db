"""Runs one script in the page as `python script.py` would, and words what went wrong."""

import asyncio
import linecache
import os
import signal
import sys
import time
import traceback
import types

from ..tensor import reset_context_stacks

STOPPED = 130  # the exit code of a shell command that Ctrl-C ended
PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
PATH = list(sys.path)  # every script starts from the same one
TRAINING = "tensorbrook training"  # the name of a task that is not a script's
SLEEP_SECONDS = 0.01

no_script_running = asyncio.Event()  # whether no script runs: training waits for it
no_script_running.set()
system_sleep = time.sleep


def run(path: str, filename: str, argv: list[str]) -> tuple[str | None, int]:
    """Run a script in a fresh __main__; returns (traceback or None, exit code)."""
    with Interrupts() as interrupts:
        _prepare_environment(os.path.dirname(path), [path, *argv])
        no_script_running.clear()
        try:
            with open(path, "rb") as file:
                code = compile(file.read(), path, "exec")
            interrupts.run_interruptible(code, _fresh_main(path))
            outcome = None, 0
        except SystemExit as end:
            outcome = None, _exit_code(end.code)
        except (KeyboardInterrupt, asyncio.CancelledError) as stop:
            outcome = describe(stop, path, filename), STOPPED
        except BaseException as error:
            outcome = describe(error, path, filename), 1
        finally:
            reset_context_stacks()
            no_script_running.set()
        _flush()
        return outcome


class Interrupts:
    """Ctrl-C is for a script's lines: one that comes before the first waits for it, and one after
    the last is late. Neither may end what makes ready and tidies up."""

    def __enter__(self) -> "Interrupts":
        self.open = self.waiting = False
        self.before = signal.signal(signal.SIGINT, self.on_signal)
        return self

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGINT, self.before)

    def on_signal(self, number: int, frame: types.FrameType | None) -> None:
        self.waiting = not self.open
        if self.open:
            raise KeyboardInterrupt

    def run_interruptible(self, code: types.CodeType, main: dict[str, object]) -> None:
        self.open = True
        try:
            if self.waiting:
                raise KeyboardInterrupt
            exec(code, main)
        finally:
            self.open = False


def cancel_awaiting_script() -> bool:
    """End a script that awaits something, as none of its lines runs; tells whether it did."""
    tasks = [task for task in asyncio.all_tasks() if task.get_name() != TRAINING]
    return any([task.cancel() for task in tasks])


def sleep(seconds: float) -> None:
    """time.sleep in a page, whose own hears no interrupt before it is over."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > SLEEP_SECONDS:
        system_sleep(SLEEP_SECONDS)
    # Below 0 it says why it takes none.
    system_sleep(max(left, 0.0) if seconds >= 0 else seconds)


if sys.platform == "emscripten":
    time.sleep = sleep


def describe(error: BaseException, path: str, filename: str) -> str:
    """The traceback as the user should read it: their own paths, and none of our frames."""
    report = traceback.TracebackException.from_exception(error)
    name = os.path.basename(path)
    _trim(report, ours=type(error).__module__.partition(".")[0] == "tensorbrook")
    _rename(report, path.removesuffix(name), filename.removesuffix(name))
    return "".join(report.format())


def _trim(report, ours):
    frames = [f for f in report.stack if f.filename != __file__]
    if ours:
        # Such an error explains itself; the way it took through the package would hide the line.
        frames = [f for f in frames if not f.filename.startswith(PACKAGE)]
    report.stack[:] = frames
    for inner in _inner(report):
        _trim(inner, ours)


def _rename(report, folder, shown):
    for place in (*report.stack, report):
        name = getattr(place, "filename", None)  # the report itself has one for a SyntaxError
        if name and name.startswith(folder):
            place.filename = shown + name.removeprefix(folder)
    for inner in _inner(report):
        _rename(inner, folder, shown)


def _inner(report):
    members = report.exceptions or ()  # of an ExceptionGroup
    return [r for r in (report.__cause__, report.__context__, *members) if r is not None]


def _prepare_environment(folder, argv):
    # Modules that an earlier script brought along must not answer for this one's.
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(folder + "/"):
            del sys.modules[name]
    linecache.clearcache()
    os.chdir(folder)
    sys.argv = argv
    sys.path[:] = [folder, *PATH]


def _fresh_main(path):
    main = types.ModuleType("__main__")
    main.__file__ = path
    sys.modules["__main__"] = main
    return main.__dict__


def _exit_code(code):
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    print(code, file=sys.stderr)
    return 1


def _flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
