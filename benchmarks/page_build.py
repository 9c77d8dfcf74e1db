"""Build of the benchmark page: the peers from npm, bundled with the code that drives them."""

from __future__ import annotations

import json
import subprocess
import sys

import environment
import node
import build_cache

PAGE = environment.ROOT / "benchmarks/page"
BUILT = environment.ROOT / "build/benchmarks"
PEERS = {"jax-js": "@jax-js/jax", "tfjs": "@tensorflow/tfjs-backend-wasm", "ort": "onnxruntime-web"}


def build() -> None:
    """Build the project, install the peers as the lock file pins them, and bundle the page."""
    build_project()
    tools = node.find()
    modules = PAGE / "node_modules"
    key = build_cache.digest(PAGE / "package.json", PAGE / "package-lock.json")
    build_cache.build_step("npm peers", modules / ".installed.txt", key, [modules],
                           lambda: install(tools))
    build_cache.build_step("benchmark page", environment.ROOT / "build/stamps/benchmarks.txt",
                           build_cache.digest(PAGE), [BUILT / "index.html"], lambda: bundle(tools))


def build_project() -> None:
    script = environment.ROOT / "build_scripts/build.py"
    if subprocess.run([sys.executable, str(script)], check=False).returncode:
        sys.exit("the project could not be built: see above")


def install(tools: node.Node) -> None:
    done = node.run(tools, "ci", "--no-audit", "--no-fund", "--ignore-scripts", folder=PAGE)
    environment.check(done, "could not install the peers; check the network connection, or npm's "
                            "proxy and registry settings, and try again")


def bundle(tools: node.Node) -> None:
    environment.check(node.run(tools, "run", "build", folder=PAGE),
                      "could not build the benchmark's page: see above")


def versions() -> dict[str, str]:
    """The installed version of each peer."""
    manifests = {name: PAGE / "node_modules" / package / "package.json"
                 for name, package in PEERS.items()}
    return {name: json.loads(path.read_text(encoding="utf-8"))["version"]
            for name, path in manifests.items()}
