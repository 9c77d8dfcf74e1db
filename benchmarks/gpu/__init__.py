"""Ours on a real GPU beside PyTorch on the same: python -m benchmarks.gpu --json out.json"""
import sys
from pathlib import Path

# Where the package is not installed it is taken from beside this folder.
sys.path.append(str(Path(__file__).resolve().parents[2] / "core"))
