"""Ours on a real GPU beside PyTorch on the same: python -m benchmarks.gpu --json out.json"""
import sys
from pathlib import Path

# The package of this checkout is measured, whatever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "core"))
