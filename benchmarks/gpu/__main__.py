"""GPU benchmark. It needs numpy, wgpu and cffi; with PyTorch it also measures a peer.

    python -m benchmarks.gpu --json out.json [--into FILE.md] [--only NAME] [--small]
"""

import sys

from .run import main

if __name__ == "__main__":
    sys.exit(main())
