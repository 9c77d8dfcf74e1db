"""Measure Tensorbrook beside other libraries in one browser page and in one run.

    python -m benchmarks --json out.json [--only NAME] [--threads 1,2] [--quick] [--no-build]
"""

from __future__ import annotations

import os
import sys

import environment
import chromium


def main() -> int:
    """Install the requirements, then run the benchmark in the project's own .venv."""
    environment.prepare("build", "page", "benchmarks")
    os.environ.setdefault("TENSORBROOK_CHROMIUM", chromium.find())
    return environment.hand_over([str(environment.PYTHON), "-m", "benchmarks.run", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
