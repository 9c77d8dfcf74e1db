"""The project's virtual environment .venv: create it, install pyproject.toml's requirements."""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):
    sys.exit("tensorbrook needs Python 3.11 or newer and this is Python "
             f"{sys.version_info[0]}.{sys.version_info[1]}; install a newer one (python.org has "
             "them) and start this script with it")

import os
import subprocess
import tomllib
from pathlib import Path

import build_cache

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def enter(*extras: str) -> None:
    """Restart this script in .venv, with these extras of pyproject.toml installed."""
    prepare(*extras)
    if Path(sys.prefix).resolve() == VENV: return
    sys.exit(hand_over([str(PYTHON), *sys.orig_argv[1:]]))


def hand_over(command: list[str]) -> int:
    """Replace this process by another program; on Windows, run it and return its exit status."""
    sys.stdout.flush()
    if os.name == "nt": return subprocess.call(command)
    os.execv(command[0], command)


def prepare(*extras: str) -> None:
    """Create .venv and install the requirements, unless both are up to date."""
    if not (PYTHON.exists() and has_pip()):
        make_venv()
    wanted = requirements(*extras)
    key = build_cache.digest(str(ROOT), VENV / "pyvenv.cfg", *wanted)
    stamp = VENV / f"installed-{'-'.join(extras)}.txt"
    build_cache.run_if_changed(stamp, key, [PYTHON], lambda: install(wanted))


def requirements(*extras: str) -> list[str]:
    """The requirements of the package and of these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"][e] for e in extras)]
    return [requirement for group in groups for requirement in group]


def has_pip() -> bool:
    """Whether .venv is complete: pip is installed last, and creation may have been interrupted."""
    packages = "Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages"
    return any(VENV.glob(f"{packages}/pip/__main__.py"))


def make_venv() -> None:
    print(f"creating {VENV}", flush=True)
    created = run_quietly(sys.executable, "-m", "venv", "--clear", VENV)
    check(created, f"could not create {VENV}; this Python may lack its venv module: on Debian or "
                "Ubuntu, apt-get install python3-venv")


def install(wanted: list[str]) -> None:
    """Install the requirements, then the project itself in place, for its `tensorbrook` command."""
    print(f"installing {len(wanted)} Python packages into {VENV}", flush=True)
    pip(*wanted)
    pip("--no-build-isolation", "--no-deps", "--editable", ROOT)


def pip(*arguments: str | Path) -> None:
    installed = run_quietly(PYTHON, "-m", "pip", "install", "--disable-pip-version-check",
                            "--quiet", *arguments)
    check(installed, "could not install the Python packages; check the network connection, or "
                     "pip's proxy and index settings, and try again")


def run_quietly(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    """Run a command and capture its output; a command that cannot start has status 127."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False, **options)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, stdout=str(error))


def check(done: subprocess.CompletedProcess[str], message: str) -> None:
    """Exit where a command failed, with its output and then the message."""
    if done.returncode: sys.exit(f"{done.stdout.strip()}\n\n{message}")
