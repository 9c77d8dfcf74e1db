"""Style: limits on the length of files, functions and lines; machine-specific paths; words."""

import ast
import functools
import re
from pathlib import Path

import pytest

import environment
import build_cache

FOLDERS = ("core", "wasm", "web", "tests", "benchmarks", "build_scripts", "examples", "docs")
SOURCES = {".py", ".c", ".h", ".wgsl", ".ts", ".svelte", ".css", ".mjs"}
PROSE = {".md", ".html"}
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_COLUMNS = 500, 50, 100

# Words that treat code as a person or replace a standard term, in text and in identifiers. A line
# break of a comment may separate the words of a phrase.
AVOIDED_WORDS = ("nobody", "whoever", "somebody", "anybody", "everybody", "anew", "crooked",
                 "once more", "is told", "asks for", "the way out")
AVOIDED = re.compile(
    "(?<![a-z])(?:" + "|".join(AVOIDED_WORDS).replace(" ", r"[\s_#/*]+") + ")(?![a-z])", re.I)
# Words of file names that name no topic: use the standard term of the field.
AVOIDED_FILE_NAMES = {"again", "halves", "numbers", "orders", "paper", "places", "trouble", "users"}

# An absolute path that begins with a folder of one machine; /home/pyodide is the home in a page.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])(/(home(?!/pyodide)|root|work|Users|opt|tmp)/\w|[A-Z]:\\Users)")


def tracked() -> list[Path]:
    """The files that are no build outputs."""
    folders = [environment.ROOT / name for name in FOLDERS]
    top = [path for path in environment.ROOT.iterdir()
           if path.is_file() and path.name != ".git"]         # a file in a linked worktree
    return top + [path for f in folders if f.is_dir() for path in build_cache.files_below(f)]


def short(path: Path) -> str:
    return path.relative_to(environment.ROOT).as_posix()


def text_of(path: Path) -> str:
    """The text of a file; empty for a binary file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def sources() -> list[Path]:
    return [path for path in tracked() if path.suffix in SOURCES]


@functools.cache
def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(text_of(path))
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_no_file_is_too_long():
    lengths = {short(path): len(text_of(path).splitlines()) for path in sources()}
    assert {name: n for name, n in lengths.items() if n > MAX_FILE_LINES} == {}


def test_no_function_is_too_long():
    lengths = [(short(path), f.name, f.end_lineno - f.lineno + 1)
               for path in sources() if path.suffix == ".py" for f in functions(path)]
    assert [each for each in lengths if each[2] > MAX_FUNCTION_LINES] == []


def test_no_import_is_inside_a_function():
    imports = [f"{short(path)}:{inner.lineno}" for path in sources() if path.suffix == ".py"
               for f in functions(path) for inner in ast.walk(f)
               if isinstance(inner, ast.Import | ast.ImportFrom)]
    assert imports == []


@pytest.mark.parametrize("suffix", [".c", ".h"])
def test_no_line_is_too_long(suffix):
    long_lines = [f"{short(path)}:{n}" for path in sources() if path.suffix == suffix
                  for n, line in enumerate(text_of(path).splitlines(), 1)
                  if len(line) > MAX_COLUMNS]
    assert long_lines == []


def test_no_machine_specific_path():
    paths = [f"{short(path)}:{n}: {line.strip()}" for path in tracked()
             for n, line in enumerate(text_of(path).splitlines(), 1)
             if MACHINE_PATH.search(line)]
    assert paths == []


def avoided_words(text: str) -> list[tuple[int, str]]:
    """Return (line, text) of each avoided word or phrase."""
    return [(text.count("\n", 0, hit.start()) + 1, hit[0]) for hit in AVOIDED.finditer(text)]


def test_avoided_words_are_recognized():
    text = "def test_nobody_reads():\n    # Compile it once\n    # more, as everybody does.\n"
    assert avoided_words(text) == [(1, "nobody"), (2, "once\n    # more"), (3, "everybody")]
    assert avoided_words("a new way, more than once, tasks for it, canewas") == []


def test_no_text_uses_avoided_words():
    hits = [f"{short(path)}:{line}: {hit}" for path in tracked()
            if path.suffix in SOURCES | PROSE and path.name != Path(__file__).name
            for line, hit in avoided_words(text_of(path))]
    assert hits == []


def test_no_file_name_uses_avoided_words():
    names = [short(path) for path in tracked()
             if AVOIDED_FILE_NAMES.intersection(re.split(r"[^a-z]+", path.name.lower()))]
    assert names == []
