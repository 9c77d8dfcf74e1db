"""What becomes of a template's text."""
import pytest

from tensorbrook.backends.webgpu import templates

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


@pytest.mark.parametrize("settings, wanted", [
    ({}, PLAIN), ({"WIDE": True, "ROWS": 1, "SCALE": 0.5, "element": "f16"}, WRITTEN_OUT)])
def test_settings_become_constants_flags_types_and_turns(settings, wanted, monkeypatch):
    monkeypatch.setattr(templates, "source", lambda name: TEXT)
    assert templates.template("a", **settings) == wanted


def test_what_a_template_does_not_have_is_a_mistake(monkeypatch):
    monkeypatch.setattr(templates, "source", lambda name: TEXT)
    with pytest.raises(AssertionError, match="no {'COLUMNS'}"):
        templates.template("a", COLUMNS=2)
    monkeypatch.setattr(templates, "source", lambda name: TEXT.replace("i++", "i += 1u"))
    with pytest.raises(AssertionError, match="another form"):
        templates.template("a", WIDE=True)
