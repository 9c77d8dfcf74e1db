"""On a machine with a GPU, with numpy, wgpu and cffi, and PyTorch if there shall be a peer:

    python -m benchmarks.gpu --json out.json [--into FILE.md] [--only NAME] [--small]
"""

import sys

from .run import main

if __name__ == "__main__":
    sys.exit(main())
