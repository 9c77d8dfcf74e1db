"""`tensorbrook run`: runs a script natively, or in the page runtime of a browser."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

FAILED = 2  # the exit code if the script cannot be run, as of argparse for invalid arguments


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("script", type=Path, help="the Python script; it runs in its folder")
    parser.add_argument("--page", action="store_true", help="run it in a headless browser")
    parser.add_argument("--backend", metavar="NAME", help="the backend that computes")
    parser.add_argument("--threads", type=positive, metavar="N", help="the number of threads")
    parser.add_argument("--headed", action="store_true", help="with --page: show the browser")
    parser.add_argument("--software-gpu", action="store_true",
                        help="with --page: use the software WebGPU adapter, for tests")
    parser.epilog = "Arguments after -- are passed to the script."


def positive(text: str) -> int:
    """The argparse type of a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def main(args: Namespace) -> int:
    script = args.script.resolve()
    if not script.is_file():
        print(f"tensorbrook run: there is no script {args.script}; name a Python file",
              file=sys.stderr)
        return FAILED
    if not args.page:
        return run_natively(script, args)
    return run_in_page(script, args.rest, backend=args.backend, threads=args.threads,
                       headed=args.headed, software_gpu=args.software_gpu)


def run_in_page(script: Path, argv: list[str], **options) -> int:
    """Run a script by `browser_runner.run`, the only module that needs Playwright."""
    try:
        browser_runner = importlib.import_module("tensorbrook.studio.browser_runner")
    except ModuleNotFoundError as missing:
        print(f"tensorbrook run: --page needs the package {missing.name}; "
              "pip install 'tensorbrook[page]'", file=sys.stderr)
        return FAILED
    return browser_runner.run(script, argv, **options)


def run_natively(script: Path, args: Namespace) -> int:
    """Run a script in a separate interpreter, as __main__ and with its folder in sys.path."""
    command = [sys.executable, str(script), *args.rest]
    with subprocess.Popen(command, cwd=script.parent, env=environment() | settings(args)) as child:
        return exit_code(wait(child))


def settings(args: Namespace) -> dict[str, str]:
    """The options of the command line as environment variables of the script."""
    options = {"TENSORBROOK_BACKEND": args.backend, "TENSORBROOK_THREADS": args.threads}
    return {name: str(value) for name, value in options.items() if value is not None}


def environment() -> dict[str, str]:
    """This process's environment, with PYTHONPATH made independent of the working directory."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    absolute = os.pathsep.join(os.path.abspath(path) for path in paths if path)
    return os.environ | ({"PYTHONPATH": absolute} if absolute else {})


def wait(child: subprocess.Popen) -> int:
    """Wait for the script to end; Ctrl-C interrupts the script, which may handle it."""
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            # A terminal also interrupts the script; any other signal reached only this process.
            if not sys.stdin.isatty():
                child.send_signal(signal.SIGINT)


def exit_code(status: int) -> int:
    """The exit code that a shell reports: 128 + n for a process that signal n ended."""
    return status if status >= 0 else 128 - status
