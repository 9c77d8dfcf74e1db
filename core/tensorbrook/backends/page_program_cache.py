"""The program cache of a page, as web/runtime/program_cache.ts provides it to Python."""
from __future__ import annotations

import tensorbrook_page as page  # pyright: ignore[reportMissingImports]


class PageProgramCache:
    """Images of programs by their keys, in the browser's storage."""

    def get(self, key: str) -> bytes | None:
        found = page.getCached(key)
        return None if found is None else found.to_bytes()

    def put(self, key: str, data: bytes) -> None:
        page.putCached(key, data)
