"""Script runner: runs a script in the page as `python script.py` does, and formats its errors."""

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
PATH = list(sys.path)  # the initial sys.path of every script
TRAINING = "tensorbrook training"  # the name of the session's task
SLEEP_SECONDS = 0.01

no_script_running = asyncio.Event()  # the training session waits for it between slices
no_script_running.set()
system_sleep = time.sleep


def run(path: str, filename: str, argv: list[str]) -> tuple[str | None, int]:
    """Run a script in a new __main__ module; returns (traceback or None, exit code).

    `path` is the script's path in the page, `filename` its path in tracebacks.
    """
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
    """A SIGINT handler that interrupts the lines of a script, but not its set-up and clean-up.

    An interrupt before the first line is raised at the first line; an interrupt after the last line
    is ignored.
    """

    def __enter__(self) -> "Interrupts":
        self.is_running = self.is_pending = False
        self.previous_handler = signal.signal(signal.SIGINT, self.on_signal)
        return self

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGINT, self.previous_handler)

    def on_signal(self, number: int, frame: types.FrameType | None) -> None:
        self.is_pending = not self.is_running
        if self.is_running:
            raise KeyboardInterrupt

    def run_interruptible(self, code: types.CodeType, namespace: dict[str, object]) -> None:
        """Execute the script's code; only here interrupts are raised."""
        self.is_running = True
        try:
            if self.is_pending:
                raise KeyboardInterrupt
            exec(code, namespace)
        finally:
            self.is_running = False


def cancel_awaiting_script() -> bool:
    """Cancel the tasks of a script that awaits a promise; returns whether there were any.

    While a script awaits, none of its lines runs, so SIGINT cannot interrupt it.
    """
    tasks = [task for task in asyncio.all_tasks() if task.get_name() != TRAINING]
    return any([task.cancel() for task in tasks])


def sleep(seconds: float) -> None:
    """time.sleep for a page, in short intervals, because Pyodide's sleep ignores interrupts."""
    end = time.monotonic() + seconds
    while (remaining := end - time.monotonic()) > SLEEP_SECONDS:
        system_sleep(SLEEP_SECONDS)
    # A negative argument is passed on, so that time.sleep raises its own error.
    system_sleep(max(remaining, 0.0) if seconds >= 0 else seconds)


if sys.platform == "emscripten":
    time.sleep = sleep


def describe(error: BaseException, path: str, filename: str) -> str:
    """The traceback with the user's paths, and without the frames of this module.

    An error of this package explains itself, so the frames of the package are omitted too.
    """
    report = traceback.TracebackException.from_exception(error)
    name = os.path.basename(path)
    is_package_error = type(error).__module__.partition(".")[0] == "tensorbrook"
    _remove_frames(report, is_package_error)
    _replace_folder(report, path.removesuffix(name), filename.removesuffix(name))
    return "".join(report.format())


def _remove_frames(report, is_package_error):
    frames = [f for f in report.stack if f.filename != __file__]
    if is_package_error:
        frames = [f for f in frames if not f.filename.startswith(PACKAGE)]
    report.stack[:] = frames
    for nested in _nested_reports(report):
        _remove_frames(nested, is_package_error)


def _replace_folder(report, folder, displayed_folder):
    for entry in (*report.stack, report):
        name = getattr(entry, "filename", None)  # the report of a SyntaxError has one too
        if name and name.startswith(folder):
            entry.filename = displayed_folder + name.removeprefix(folder)
    for nested in _nested_reports(report):
        _replace_folder(nested, folder, displayed_folder)


def _nested_reports(report):
    members = report.exceptions or ()  # of an ExceptionGroup
    return [r for r in (report.__cause__, report.__context__, *members) if r is not None]


def _prepare_environment(folder, argv):
    # Discard the folder's modules that an earlier script imported: the files may have changed.
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
