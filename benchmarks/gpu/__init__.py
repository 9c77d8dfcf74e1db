"""Speed of Tensorbrook beside PyTorch on one GPU: python -m benchmarks.gpu --json out.json"""
import sys
from pathlib import Path

# Measure the package of this checkout, not an installed one.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "core"))
