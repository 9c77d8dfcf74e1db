"""Ours beside the peers, in one browser, in one run: python -m benchmarks --json out.json"""
import sys
from pathlib import Path

# What is shared with the build (Node, stamps, where a Chromium is) lies there, and is no package.
sys.path.append(str(Path(__file__).resolve().parents[1] / "build_scripts"))
