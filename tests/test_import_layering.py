"""Import layering: a layer imports only from layers below it.

LAYERS is the architecture, from the bottom to the top.
"""
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
LAYER_OF = {name: level for level, names in enumerate(LAYERS) for name in names}
# These see only graphs and plans, never a tensor or an operation.
ONLY_PROGRAMS = {"compiler": ("base", "ir", "compiler"), "backends": ("base", "ir", "backends")}
# These import nothing but the standard library, except in the modules of EXTERNAL.
PLAIN = ("base", "ir", "tensor", "trace", "ops", "autodiff", "compiler", "backends", "placement",
         "eager", "devices", "function", "bitwise", "config", "errors", "linalg", "math",
         "__init__", "keras")
EXTERNAL = {"backends/reference/__init__.py": {"numpy"},
            "backends/wasm/host_wasmtime.py": {"wasmtime"},
            "backends/page_program_cache.py": {"tensorbrook_page"},
            "backends/wasm/host_page.py": {"js", "pyodide", "tensorbrook_page"},
            "backends/webgpu/host_wgpu.py": {"wgpu"},
            "backends/webgpu/host_page.py": {"pyodide", "tensorbrook_page"}}

FILES = sorted(ROOT.rglob("*.py"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())


def head_of(path: Path) -> str:
    """The top-level folder or module of the package that contains a file."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path):
    """(line, absolute dotted name) of every import."""
    package = ("tensorbrook", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            stem = (*package[:len(package) - node.level + 1],) if node.level else ()
            stem += tuple((node.module or "").split(".")) if node.module else ()
            yield from ((node.lineno, ".".join((*stem, alias.name))) for alias in node.names)


def imported_head(name: str) -> str | None:
    """The top-level folder or module of the package that is imported; None for other packages."""
    parts = name.split(".")
    if parts[0] != "tensorbrook":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in LAYER_OF else "__init__"


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(environment.ROOT).as_posix()}:{line}"


@each_file
def test_imports_point_to_lower_layers(path):
    here = head_of(path)
    assert here in LAYER_OF, f"{where(path, 1)} is in no layer; add {here!r} to LAYERS"
    for line, name in imports(path):
        target = imported_head(name)
        assert target is None or LAYER_OF[target] <= LAYER_OF[here], \
            f"{where(path, line)} imports {target}, a layer above {here}"


@each_file
def test_compiler_and_backends_import_only_programs(path):
    allowed = ONLY_PROGRAMS.get(head_of(path))
    for line, name in imports(path):
        target = imported_head(name)
        assert allowed is None or target is None or target in allowed, \
            f"{where(path, line)} imports {target}; {head_of(path)} may import only {allowed}"


@each_file
def test_only_external_modules_import_other_packages(path):
    if head_of(path) not in PLAIN:
        return
    allowed = EXTERNAL.get(path.relative_to(ROOT).as_posix(), set())
    for line, name in imports(path):
        package = name.split(".")[0]
        assert package in sys.stdlib_module_names | allowed | {"tensorbrook"}, \
            f"{where(path, line)} imports {package}; only the standard library is allowed here"


@each_file
def test_no_import_is_inside_a_function(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for f in ast.walk(tree):
        if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for node in ast.walk(f):
                hidden = isinstance(node, ast.Import | ast.ImportFrom) or (
                    isinstance(node, ast.Name) and node.id == "__import__")
                assert not hidden, f"{where(path, node.lineno)} imports inside a function"


def test_no_backend_imports_the_table_of_primitives():
    """Backends use kinds, expressions and kernel names; PRIMITIVES is for builders of equations."""
    for path in FILES:
        if head_of(path) == "backends":
            names = [name for _, name in imports(path)]
            assert not any(name.endswith(".PRIMITIVES") for name in names), \
                f"{where(path, 1)} imports the table of primitives"
