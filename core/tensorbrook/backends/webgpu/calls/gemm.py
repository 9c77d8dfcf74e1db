"""Parts for kernels of this family."""
from __future__ import annotations

CALLS: dict = {}
