"""README and docs: the Python code runs, and the targets of links exist."""

import re
from pathlib import Path

import pytest

import environment

ROOT = environment.ROOT
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<(?:img|a)[^>]*\b(?:src|href)=\"([^\"]+)\"")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[str]:
    """The Python blocks of a page, each after blank lines that preserve its line numbers."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text.count("\n", 0, m.start(1)) + m.group(1) for m in BLOCK.finditer(text)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_targets_of_links_exist(page):
    targets = ["".join(pair) for pair in LINK.findall(page.read_text(encoding="utf-8"))]
    local = [t.partition("#")[0] for t in targets if not re.match(r"\w+:|#", t)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_readme_has_a_python_block():
    assert blocks(ROOT / "README.md")
