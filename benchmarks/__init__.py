"""Speed of Tensorbrook beside other libraries in one browser page: python -m benchmarks"""
import sys
from pathlib import Path

# Shared with the build: Node, the build cache, the search for a Chromium. The folder is no package.
sys.path.append(str(Path(__file__).resolve().parents[1] / "build_scripts"))
