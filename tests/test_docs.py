"""README and docs: their Python code runs, and their links and paths exist."""

import re
from pathlib import Path

import pytest

import environment
from tensorbrook.ir import PRIMITIVES

ROOT = environment.ROOT
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<(?:img|a)[^>]*\b(?:src|href)=\"([^\"]+)\"")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[str]:
    """The Python blocks of a page, padded with blank lines to keep the page's line numbers."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text.count("\n", 0, m.start(1)) + m.group(1) for m in BLOCK.finditer(text)]


@pytest.fixture
def own_primitives():
    """Removes the primitives that a page registers."""
    before = set(PRIMITIVES)
    yield
    for name in set(PRIMITIVES) - before:
        del PRIMITIVES[name]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_runs(page, tmp_path, monkeypatch, own_primitives):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_link_targets_exist(page):
    targets = ["".join(pair) for pair in LINK.findall(page.read_text(encoding="utf-8"))]
    local = [t.partition("#")[0] for t in targets if not re.match(r"\w+:|#", t)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_readme_has_a_program():
    assert blocks(ROOT / "README.md")


def glossary() -> list[tuple[str, str, str]]:
    """The rows of docs/glossary.md: term, meaning, paths."""
    lines = (ROOT / "docs/glossary.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in lines if line.startswith("|")]
    return [(term, meaning, where) for term, meaning, where in rows[2:]]


def test_glossary_terms_are_sorted_unique_and_explained():
    terms = [term.casefold() for term, _, _ in glossary()]
    assert terms == sorted(set(terms)) and len(terms) >= 60
    assert [term for term, meaning, _ in glossary() if len(meaning.split()) < 3] == []


def test_glossary_paths_exist():
    paths = {term: re.findall(r"`([^`]+)`", where) for term, _, where in glossary()}
    assert [term for term, found in paths.items() if not found] == []
    missing = [(term, path) for term, found in paths.items() for path in found
               if not any((base / path).exists() for base in (ROOT / "core/tensorbrook", ROOT))]
    assert missing == []
