"""Set up, build, and open the Studio in the browser.

    python build_scripts/studio.py [--port N] [--no-browser]
"""

from __future__ import annotations

import sys

import environment
import build


def main() -> int:
    environment.enter("build")
    build.build()
    command = [str(environment.PYTHON), "-m", "tensorbrook", "studio", *sys.argv[1:]]
    return environment.hand_over(command)


if __name__ == "__main__":
    sys.exit(main())
