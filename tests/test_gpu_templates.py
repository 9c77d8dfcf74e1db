"""Shader templates: instantiation with settings, includes, and the style of the files."""
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from tensorbrook.backends.webgpu import kernels, shader_templates

TEXT = """\
alias element = f32;

override ROWS: u32 = 2;                  // of a tile
override SCALE: f32 = 1;

fn f(x: element) {
  // if WIDE
  // unroll
  for (var i = 0u; i < ROWS; i++) {
    let y = x * i;
    // unroll
    for (var j = 0u; j < 2u; j++) { g(y, j, ij); }
  }
  // else
  g(x);
  // end
}
"""
DEFAULT = """\

const ROWS: u32 = 2;                  // of a tile
const SCALE: f32 = 1;

fn f(x: f32) {
  g(x);
}
"""
UNROLLED = """\
enable f16;

const ROWS: u32 = 1u;                  // of a tile
const SCALE: f32 = 0.5f;

fn f(x: f16) {
  {
    let y = x * 0u;
    { g(y, 0u, ij); }
    { g(y, 1u, ij); }
  }
}
"""


FOLDER = Path(str(shader_templates.FOLDER))


@pytest.mark.parametrize("settings, expected", [
    ({}, DEFAULT), ({"WIDE": True, "ROWS": 1, "SCALE": 0.5, "element": "f16"}, UNROLLED)])
def test_settings_become_constants_conditionals_types_and_unrolled_loops(
        settings, expected, monkeypatch):
    monkeypatch.setattr(shader_templates, "load_source", lambda name: TEXT)
    assert shader_templates.instantiate("a", **settings) == expected


def test_invalid_settings_and_templates_raise(monkeypatch):
    monkeypatch.setattr(shader_templates, "load_source", lambda name: TEXT)
    with pytest.raises(AssertionError, match="no {'COLUMNS'}"):
        shader_templates.instantiate("a", COLUMNS=2)
    monkeypatch.setattr(shader_templates, "load_source",
                        lambda name: TEXT.replace("i++", "i += 1u"))
    with pytest.raises(AssertionError, match="unsupported form"):
        shader_templates.instantiate("a", WIDE=True)
    monkeypatch.setattr(shader_templates, "load_source",
                        lambda name: TEXT.replace("let y", "let element"))
    with pytest.raises(AssertionError, match="element is a type"):
        shader_templates.instantiate("a", WIDE=True)
    monkeypatch.setattr(shader_templates, "load_source", lambda name: "override ROWS: u32;\n")
    with pytest.raises(AssertionError, match="a.wgsl needs a value of ROWS"):
        shader_templates.instantiate("a")


def test_no_constant_is_defined_in_python_and_in_a_template():
    """Python passes its constants to the template, where each is an `override` without a value."""
    modules = [importlib.import_module(f"{kernels.__name__}.{module.name}")
               for module in pkgutil.iter_modules(kernels.__path__)]
    in_python = {name for module in modules for name, value in vars(module).items()
                 if name.isupper() and isinstance(value, int)}
    assert {"LANES", "TILE_K", "BLOCK_ROWS", "BITS"} <= in_python
    text = "".join(map(Path.read_text, FOLDER.rglob("*.wgsl")))
    in_templates = re.findall(r"^const (\w+)(?:: \w+)? = \d+u?;", text, re.M)
    assert not in_python & {*in_templates}


# ── includes ──────────────────────────────────────────────────────────────────────────────────


def test_includes_are_replaced_by_the_text_of_the_files(tmp_path, monkeypatch):
    files = {"a.wgsl": '// A.\n// include "include/b.wgsl"\nfn a() { b(); }\n',
             "include/b.wgsl": '// B.\n// include "include/c.wgsl"\n\nfn b() { c(); }\n',
             "include/c.wgsl": "// C.\nfn c() {}\n"}
    actual = source_of(files, tmp_path, monkeypatch)
    assert actual == "// A.\n// B.\n// C.\nfn c() {}\n\nfn b() { c(); }\nfn a() { b(); }\n"


@pytest.mark.parametrize("files, message", [
    ({"a.wgsl": '// include "include/b.wgsl"\n'},
     r"there is no include/b.wgsl \(include path: a.wgsl includes include/b.wgsl\)"),
    ({"a.wgsl": '// include "b.wgsl"\n', "b.wgsl": '// include "a.wgsl"\n'},
     "circular include: a.wgsl includes b.wgsl includes a.wgsl"),
    ({"a.wgsl": '  // include "b.wgsl"\n', "b.wgsl": ""}, "malformed `// include` line in a.wgsl"),
    ({}, "there is no a.wgsl")])
def test_invalid_includes_raise(files, message, tmp_path, monkeypatch):
    with pytest.raises(AssertionError, match=message):
        source_of(files, tmp_path, monkeypatch)


def source_of(files: dict[str, str], folder: Path, monkeypatch) -> str:
    """Return the text of template `a` in a folder of these files."""
    (folder / "include").mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(shader_templates, "FOLDER", folder)
    return shader_templates.load_source.__wrapped__("a")


def test_every_include_exists_and_every_include_file_is_used():
    text = "".join(map(Path.read_text, FOLDER.rglob("*.wgsl")))
    included = set(re.findall(r'// include "(.*?)"', text))
    assert {file.relative_to(FOLDER).as_posix() for file in FOLDER.glob("*/**/*.wgsl")} == included


def test_lines_of_templates_have_at_most_100_columns():
    long = [f"{file.name}: {line}" for file in FOLDER.rglob("*.wgsl")
            for line in file.read_text().splitlines() if len(line) > 100]
    assert not long
