"""Runs one script in the page as `python script.py` would, and words what went wrong."""

import linecache
import os
import sys
import traceback
import types

STOPPED = 130  # the exit code of a shell command that Ctrl-C ended
PATH = list(sys.path)  # every script starts from the same one


def run(source, filename, argv, folder):
    """Run a script in a fresh __main__; returns (traceback or None, exit code)."""
    _enter(folder, filename, argv)
    _show_lines(filename, source)
    try:
        exec(compile(source, filename, "exec"), _fresh_main(folder, filename))
        outcome = None, 0
    except SystemExit as end:
        outcome = None, _exit_code(end.code)
    except KeyboardInterrupt as stop:
        outcome = describe(stop), STOPPED
    except BaseException as error:
        outcome = describe(error), 1
    _flush()
    return outcome


def describe(error):
    """The traceback as the user should read it: from their first line, without our own frames."""
    report = traceback.TracebackException.from_exception(error)
    _trim(report, ours=type(error).__module__.partition(".")[0] == "tensorbrook")
    return "".join(report.format())


def _trim(report, ours):
    frames = [f for f in report.stack if f.filename != RUNNER]
    if ours:
        # Such an error explains itself; the way it took through the package would hide the line.
        frames = [f for f in frames if "/site-packages/tensorbrook/" not in f.filename]
    report.stack[:] = frames
    for inner in (report.__cause__, report.__context__):
        if inner is not None:
            _trim(inner, ours)


RUNNER = describe.__code__.co_filename


def _enter(folder, filename, argv):
    # Modules that an earlier script brought along must not answer for this one's.
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(folder + "/"):
            del sys.modules[name]
    os.chdir(folder)
    sys.argv = [filename, *argv]
    sys.path[:] = [folder, *PATH]


def _show_lines(filename, source):
    linecache.cache[filename] = len(source), None, source.splitlines(True), filename


def _fresh_main(folder, filename):
    main = types.ModuleType("__main__")
    main.__file__ = os.path.join(folder, filename)
    main.__builtins__ = __builtins__
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
