"""The sizes that keep a file and a function readable, and no path of anybody's machine."""

import ast
import re
from pathlib import Path

import pytest

import environment
import build_cache

FOLDERS = ("core", "wasm", "web", "tests", "benchmarks", "build_scripts", "examples", "docs")
SOURCES = {".py", ".c", ".h", ".wgsl", ".ts", ".svelte", ".css", ".mjs"}
LONGEST_FILE, LONGEST_FUNCTION, WIDEST = 500, 50, 100

# A folder that only one machine has, at the start of an absolute path. Pyodide's own is in memory.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])(/(home(?!/pyodide)|root|work|Users|opt|tmp)/\w|[A-Z]:\\Users)")


def tracked() -> list[Path]:
    """The files that people wrote."""
    folders = [environment.ROOT / name for name in FOLDERS]
    top = [path for path in environment.ROOT.iterdir()
           if path.is_file() and path.name != ".git"]         # a file in a second work tree
    return top + [path for f in folders if f.is_dir() for path in build_cache.files_below(f)]


def short(path: Path) -> str:
    return path.relative_to(environment.ROOT).as_posix()


def text_of(path: Path) -> str:
    """What stands in a file; nothing where it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def sources() -> list[Path]:
    return [path for path in tracked() if path.suffix in SOURCES]


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(text_of(path))
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_no_file_is_too_long():
    lengths = {short(path): len(text_of(path).splitlines()) for path in sources()}
    assert {name: n for name, n in lengths.items() if n > LONGEST_FILE} == {}


def test_no_function_is_too_long():
    found = [(short(path), f.name, f.end_lineno - f.lineno + 1)
             for path in sources() if path.suffix == ".py" for f in functions(path)]
    assert [each for each in found if each[2] > LONGEST_FUNCTION] == []


def test_no_import_hides_in_a_function():
    found = [f"{short(path)}:{inner.lineno}" for path in sources() if path.suffix == ".py"
             for f in functions(path) for inner in ast.walk(f)
             if isinstance(inner, ast.Import | ast.ImportFrom)]
    assert found == []


@pytest.mark.parametrize("suffix", [".c", ".h"])
def test_no_line_is_too_wide(suffix):
    wide = [f"{short(path)}:{number}" for path in sources() if path.suffix == suffix
            for number, line in enumerate(text_of(path).splitlines(), 1) if len(line) > WIDEST]
    assert wide == []


def test_no_path_of_a_machine():
    found = [f"{short(path)}:{number}: {line.strip()}" for path in tracked()
             for number, line in enumerate(text_of(path).splitlines(), 1)
             if MACHINE_PATH.search(line)]
    assert found == []
