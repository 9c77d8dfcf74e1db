"""`tensorbrook run`: a script natively, or inside the real page runtime."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

FAILED = 2  # the exit code when there is nothing to run, as of a mistake on the command line


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("script", type=Path, help="the Python script; its folder is where it runs")
    parser.add_argument("--page", action="store_true", help="run it in a page, in a browser")
    parser.add_argument("--backend", metavar="NAME", help="the backend to compute on")
    parser.add_argument("--threads", type=positive, metavar="N", help="threads to compute on")
    parser.add_argument("--headed", action="store_true", help="with --page: show the browser")
    parser.add_argument("--software-gpu", action="store_true",
                        help="with --page: let the processor play the GPU, for tests")
    parser.epilog = "What stands after -- is handed to the script."


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"it is {text!r}; it takes a whole number from 1")
    return int(text)


def main(args: Namespace) -> int:
    script = args.script.resolve()
    if not script.is_file():
        print(f"tensorbrook run: there is no script {args.script}; name a Python file",
              file=sys.stderr)
        return FAILED
    if not args.page:
        return run_natively(script, args)
    return in_browser(script, args.rest, backend=args.backend, threads=args.threads,
                      headed=args.headed, software_gpu=args.software_gpu)


def in_browser(script: Path, words: list[str], **options) -> int:
    """Run it in a browser, with page_run's options; only this way needs Playwright."""
    try:
        page_run = importlib.import_module("tensorbrook.studio.browser_runner")
    except ModuleNotFoundError as missing:
        print(f"tensorbrook run: --page needs the package {missing.name}; "
              "pip install 'tensorbrook[page]'", file=sys.stderr)
        return FAILED
    return page_run.run(script, words, **options)


def run_natively(script: Path, args: Namespace) -> int:
    """Run it in an interpreter of its own, which makes it __main__ and its folder sys.path[0]."""
    command = [sys.executable, str(script), *args.rest]
    with subprocess.Popen(command, cwd=script.parent, env=environment() | settings(args)) as child:
        return exit_code(wait(child))


def settings(args: Namespace) -> dict[str, str]:
    """What was chosen on the command line, for the script's environment."""
    chosen = {"TENSORBROOK_BACKEND": args.backend, "TENSORBROOK_THREADS": args.threads}
    return {name: str(value) for name, value in chosen.items() if value is not None}


def environment() -> dict[str, str]:
    """Ours, with a PYTHONPATH that means the same from another folder."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    absolute = os.pathsep.join(os.path.abspath(path) for path in paths if path)
    return os.environ | ({"PYTHONPATH": absolute} if absolute else {})


def wait(child: subprocess.Popen) -> int:
    """Wait for the script, which decides for itself what Ctrl-C means to it."""
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            # A terminal interrupts the script too; anybody else interrupted only us.
            if not sys.stdin.isatty():
                child.send_signal(signal.SIGINT)


def exit_code(status: int) -> int:
    """The exit code that a shell would report: 128 + n for an end by signal n."""
    return status if status >= 0 else 128 - status
