"""Imports point down. The order below is the architecture; edit it only on purpose."""
import ast
import sys
from pathlib import Path

import pytest

import environment

ROOT = environment.ROOT / "core" / "tensorbrook"
LAYERS = (
    ("base",), ("ir",), ("tensor",), ("trace",), ("autodiff", "ops"), ("compiler",), ("backends",),
    ("placement", "eager", "devices", "function"),
    ("bitwise", "config", "errors", "linalg", "math", "__init__"),
    ("keras",), ("__main__", "cli", "studio"))
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}
# Who sees only programs: plain data, never a tensor or an operation.
ONLY_PROGRAMS = {"compiler": ("base", "ir", "compiler"), "backends": ("base", "ir", "backends")}
# Where nothing but the standard library is imported, and the files that are a border to elsewhere.
PLAIN = ("base", "ir", "tensor", "trace", "ops", "autodiff", "compiler", "backends", "placement",
         "eager", "devices", "function", "bitwise", "config", "errors", "linalg", "math",
         "__init__", "keras")
BORDERS = {"backends/reference/__init__.py": {"numpy"},
           "backends/wasm/host_wasmtime.py": {"wasmtime"},
           "backends/page_program_cache.py": {"tensorbrook_page"},
           "backends/wasm/host_page.py": {"js", "pyodide", "tensorbrook_page"},
           "backends/webgpu/host_wgpu.py": {"wgpu"},
           "backends/webgpu/host_page.py": {"pyodide", "tensorbrook_page"}}

FILES = sorted(ROOT.rglob("*.py"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())


def head_of(path: Path) -> str:
    """The part of the package that a file belongs to: its folder at the top, or itself."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path):
    """(line, dotted name) of every import; our own begin with `tensorbrook`."""
    package = ("tensorbrook", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            stem = (*package[:len(package) - node.level + 1],) if node.level else ()
            stem += tuple((node.module or "").split(".")) if node.module else ()
            yield from ((node.lineno, ".".join((*stem, alias.name))) for alias in node.names)


def own(name: str) -> str | None:
    """The part of our package that an import names; None for another's."""
    parts = name.split(".")
    if parts[0] != "tensorbrook":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in LAYER_OF else "__init__"


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(environment.ROOT).as_posix()}:{line}"


@each_file
def test_imports_point_down(path):
    here = head_of(path)
    assert here in LAYER_OF, f"{where(path, 1)} is in no layer; add {here!r} to LAYERS"
    for line, name in imports(path):
        above = own(name)
        assert above is None or LAYER_OF[above] <= LAYER_OF[here], \
            f"{where(path, line)} imports {above}, a layer above {here}"


@each_file
def test_compiler_and_backends_see_only_programs(path):
    allowed = ONLY_PROGRAMS.get(head_of(path))
    for line, name in imports(path):
        assert allowed is None or own(name) is None or own(name) in allowed, \
            f"{where(path, line)} imports {own(name)}; {head_of(path)} may import only {allowed}"


@each_file
def test_only_borders_import_what_others_wrote(path):
    if head_of(path) not in PLAIN:
        return
    allowed = BORDERS.get(path.relative_to(ROOT).as_posix(), set())
    for line, name in imports(path):
        package = name.split(".")[0]
        assert package in sys.stdlib_module_names | allowed | {"tensorbrook"}, \
            f"{where(path, line)} imports {package}; only the standard library may stand here"


@each_file
def test_no_import_hides_in_a_function(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for f in ast.walk(tree):
        if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for node in ast.walk(f):
                hidden = isinstance(node, ast.Import | ast.ImportFrom) or (
                    isinstance(node, ast.Name) and node.id == "__import__")
                assert not hidden, f"{where(path, node.lineno)} imports inside a function"


def test_no_backend_knows_the_name_of_an_operation():
    """Backends read kinds, formulas and kernel names; PRIMS is for those who build equations."""
    for path in FILES:
        if head_of(path) == "backends":
            names = [name for _, name in imports(path)]
            assert not any(name.endswith(".PRIMS") for name in names), \
                f"{where(path, 1)} imports the table of primitives"
