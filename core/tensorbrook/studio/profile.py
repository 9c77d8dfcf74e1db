"""`tensorbrook profile`: runs a script and times every kernel, natively or in a page."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from . import run

MODULE = "tensorbrook.studio.profile_runner"
TOP = 40
PAGE_TRACE_NAME = "tensorbrook_profile.json"  # the trace of a page, written to the script's folder
LAUNCHER_SOURCE = """\
import os, sys
from {module} import main
sys.exit(main(os.path.abspath({name!r}), {displayed!r}, {argv!r}, {trace!r}, {top}))
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("script", type=Path, help="the Python script; it runs in its folder")
    parser.add_argument("--page", action="store_true", help="run it in a headless browser")
    parser.add_argument("--backend", metavar="NAME", help="the backend that computes")
    parser.add_argument("--threads", type=run.positive, metavar="N", help="the number of threads")
    parser.add_argument("--trace", type=Path, metavar="FILE",
                        help="also write a trace of all runs for chrome://tracing or Perfetto")
    parser.add_argument("--top", type=run.positive, metavar="N", default=TOP,
                        help=f"the number of kernels in the table (default: {TOP})")
    parser.add_argument("--software-gpu", action="store_true",
                        help="with --page: use the software WebGPU adapter, for tests")
    parser.epilog = "Arguments after -- are passed to the script."


def main(args: Namespace) -> int:
    script = args.script.resolve()
    if not script.is_file():
        print(f"tensorbrook profile: there is no script {args.script}; name a Python file",
              file=sys.stderr)
        return run.FAILED
    return profile_in_page(script, args) if args.page else profile_natively(script, args)


def profile_natively(script: Path, args: Namespace) -> int:
    trace = str(args.trace.resolve()) if args.trace else ""
    command = [sys.executable, "-m", MODULE, str(script), trace, str(args.top), *args.rest]
    with subprocess.Popen(command, cwd=script.parent,
                          env=run.environment() | run.settings(args)) as child:
        return run.exit_code(run.wait(child))


def profile_in_page(script: Path, args: Namespace) -> int:
    """Run a launcher in the script's folder, from which the page writes back the trace."""
    launcher = LAUNCHER_SOURCE.format(
        module=MODULE, name=script.name, displayed=script.as_posix(), argv=list(args.rest),
        trace=PAGE_TRACE_NAME if args.trace else "", top=args.top)
    code = run.run_in_page(
        script, args.rest, source=launcher, backend=args.backend, threads=args.threads,
        software_gpu=args.software_gpu, precise_timestamps=True)
    trace = script.parent / PAGE_TRACE_NAME
    if args.trace and trace.is_file():
        trace.replace(args.trace)
    return code
