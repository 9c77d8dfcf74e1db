"""What this visit to a page and earlier ones have kept, as web/runtime/kept.ts offers it."""
from __future__ import annotations

import tensorbrook_page as page  # pyright: ignore[reportMissingImports]


class PageProgramCache:
    """Images of programs by their keys, in the browser's storage."""

    def get(self, key: str) -> bytes | None:
        found = page.recall(key)
        return None if found is None else found.to_bytes()

    def put(self, key: str, data: bytes) -> None:
        page.keep(key, data)
