"""Set up, build, and run all tests, including those of the page.

    python build_scripts/test.py [--fast] [-- arguments of pytest]
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
    parser = argparse.ArgumentParser(description="Set up, build, run all tests.")
    parser.add_argument("--fast", action="store_true", help="skip the page and its tests")
    parser.add_argument("pytest", nargs="*", metavar="-- ARGUMENT", help="passed to pytest")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    environment.enter("build", "gpu", "page", "test")
    build.build(page=not options.fast)
    vulkan.ensure()
    command = [str(environment.PYTHON), "-m", "pytest"]
    if options.fast:
        command += ["--ignore", str(environment.ROOT / "tests" / "web")]
    else:
        os.environ["TENSORBROOK_CHROMIUM"] = chromium.find()
    os.chdir(environment.ROOT)
    return environment.hand_over(command + options.pytest)


if __name__ == "__main__":
    sys.exit(main())
