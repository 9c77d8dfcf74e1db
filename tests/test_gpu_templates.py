"""What becomes of a template's text."""
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
PLAIN = """\

const ROWS: u32 = 2;                  // of a tile
const SCALE: f32 = 1;

fn f(x: f32) {
  g(x);
}
"""
WRITTEN_OUT = """\
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


@pytest.mark.parametrize("settings, wanted", [
    ({}, PLAIN), ({"WIDE": True, "ROWS": 1, "SCALE": 0.5, "element": "f16"}, WRITTEN_OUT)])
def test_settings_become_constants_flags_types_and_turns(settings, wanted, monkeypatch):
    monkeypatch.setattr(shader_templates, "load_source", lambda name: TEXT)
    assert shader_templates.instantiate("a", **settings) == wanted


def test_what_a_template_does_not_have_is_a_mistake(monkeypatch):
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


def test_no_number_stands_in_python_and_in_a_template():
    """Python gives it to the template, where it is an `override` without a value."""
    modules = [importlib.import_module(f"{kernels.__name__}.{found.name}")
               for found in pkgutil.iter_modules(kernels.__path__)]
    of_python = {name for module in modules for name, value in vars(module).items()
                 if name.isupper() and isinstance(value, int)}
    assert {"LANES", "TILE_K", "BLOCK_ROWS", "BITS"} <= of_python
    text = "".join(map(Path.read_text, FOLDER.rglob("*.wgsl")))
    of_templates = re.findall(r"^const (\w+)(?:: \w+)? = \d+u?;", text, re.M)
    assert not of_python & {*of_templates}


# ── pieces ────────────────────────────────────────────────────────────────────────────────────


def test_a_template_has_what_it_includes(tmp_path, monkeypatch):
    files = {"a.wgsl": '// A.\n// include "include/b.wgsl"\nfn a() { b(); }\n',
             "include/b.wgsl": '// B.\n// include "include/c.wgsl"\n\nfn b() { c(); }\n',
             "include/c.wgsl": "// C.\nfn c() {}\n"}
    found = source_of(files, tmp_path, monkeypatch)
    assert found == "// A.\n// B.\n// C.\nfn c() {}\n\nfn b() { c(); }\nfn a() { b(); }\n"


@pytest.mark.parametrize("files, said", [
    ({"a.wgsl": '// include "include/b.wgsl"\n'},
     r"there is no include/b.wgsl \(include path: a.wgsl includes include/b.wgsl\)"),
    ({"a.wgsl": '// include "b.wgsl"\n', "b.wgsl": '// include "a.wgsl"\n'},
     "circular include: a.wgsl includes b.wgsl includes a.wgsl"),
    ({"a.wgsl": '  // include "b.wgsl"\n', "b.wgsl": ""}, "malformed `// include` line in a.wgsl"),
    ({}, "there is no a.wgsl")])
def test_what_cannot_be_included(files, said, tmp_path, monkeypatch):
    with pytest.raises(AssertionError, match=said):
        source_of(files, tmp_path, monkeypatch)


def source_of(files: dict[str, str], folder: Path, monkeypatch) -> str:
    """The text of template `a` among these files."""
    (folder / "include").mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(shader_templates, "FOLDER", folder)
    return shader_templates.load_source.__wrapped__("a")


def test_every_piece_is_included_and_every_include_is_there():
    asked = re.findall(r'// include "(.*?)"', "".join(map(Path.read_text, FOLDER.rglob("*.wgsl"))))
    assert {file.relative_to(FOLDER).as_posix() for file in FOLDER.glob("*/**/*.wgsl")} == {*asked}


def test_lines_are_no_longer_than_those_of_python():
    long = [f"{file.name}: {line}" for file in FOLDER.rglob("*.wgsl")
            for line in file.read_text().splitlines() if len(line) > 100]
    assert not long
