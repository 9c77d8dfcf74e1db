"""Set everything up, build, and run every test, the page's included.

    python build_scripts/test.py [--fast] [-- what pytest is to be told]
"""

from __future__ import annotations

import argparse
import os
import sys

import environment
import build
import chromium
import vulkan


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Set up, build, run every test.")
    parser.add_argument("--fast", action="store_true", help="leave the page out")
    parser.add_argument("pytest", nargs="*", metavar="-- ARGUMENT", help="passed on to pytest")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    environment.enter("build", "gpu", "page", "test")
    build.build(page=not asked.fast)
    vulkan.provide()
    command = [str(environment.PYTHON), "-m", "pytest"]
    if asked.fast:
        command += ["--ignore", str(environment.ROOT / "tests" / "web")]
    else:
        os.environ["TENSORBROOK_CHROMIUM"] = chromium.find()
    os.chdir(environment.ROOT)
    return environment.hand_over(command + asked.pytest)


if __name__ == "__main__":
    sys.exit(main())
