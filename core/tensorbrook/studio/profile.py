"""`tensorbrook profile`: run a script and time every kernel, natively or in a page."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from . import run

MODULE = "tensorbrook.studio.profile_runner"
TOP = 40
BESIDE = "tensorbrook_profile.json"      # where a page leaves the trace: in the script's folder
LAUNCHER = """\
import os, sys
from {module} import main
sys.exit(main(os.path.abspath({name!r}), {shown!r}, {words!r}, {trace!r}, {top}))
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("script", type=Path, help="the Python script; its folder is where it runs")
    parser.add_argument("--page", action="store_true", help="run it in a page, in a browser")
    parser.add_argument("--backend", metavar="NAME", help="the backend to compute on")
    parser.add_argument("--threads", type=run.positive, metavar="N", help="threads to compute on")
    parser.add_argument("--trace", type=Path, metavar="FILE",
                        help="also write every run as a trace for chrome://tracing or Perfetto")
    parser.add_argument("--top", type=run.positive, metavar="N", default=TOP,
                        help=f"how many kernels the table shows, {TOP} if not given")
    parser.add_argument("--software-gpu", action="store_true",
                        help="with --page: let the processor play the GPU, for tests")
    parser.epilog = "What stands after -- is handed to the script."


def main(args: Namespace) -> int:
    script = args.script.resolve()
    if not script.is_file():
        print(f"tensorbrook profile: there is no script {args.script}; name a Python file",
              file=sys.stderr)
        return run.FAILED
    return in_page(script, args) if args.page else natively(script, args)


def natively(script: Path, args: Namespace) -> int:
    trace = str(args.trace.resolve()) if args.trace else ""
    command = [sys.executable, "-m", MODULE, str(script), trace, str(args.top), *args.rest]
    with subprocess.Popen(command, cwd=script.parent,
                          env=run.environment() | run.settings(args)) as child:
        return run.exit_code(run.wait(child))


def in_page(script: Path, args: Namespace) -> int:
    """The page runs a launcher beside the script; the trace comes back as a file of its folder."""
    launcher = LAUNCHER.format(module=MODULE, name=script.name, shown=script.as_posix(),
                               words=list(args.rest), trace=BESIDE if args.trace else "",
                               top=args.top)
    code = run.in_browser(script, args.rest, source=launcher, backend=args.backend,
                          threads=args.threads, software_gpu=args.software_gpu, clock=True)
    left = script.parent / BESIDE
    if args.trace and left.is_file():
        left.replace(args.trace)
    return code
