"""The program cache of a page: compiled programs in the browser's storage, kept between visits."""
from __future__ import annotations

import tensorbrook_page as page  # pyright: ignore[reportMissingImports]


class PageProgramCache:
    """The page's implementation of ProgramCache."""

    def get(self, key: str) -> bytes | None:
        data = page.getCached(key)
        return None if data is None else data.to_bytes()

    def put(self, key: str, data: bytes) -> None:
        page.putCached(key, data)
