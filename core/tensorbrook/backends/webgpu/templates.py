"""The shaders that are files: `templates/*.wgsl`, each a whole WGSL module.

What is chosen for each use is an `override` of the file: sizes, so that loops have known lengths,
and tunables. `template` turns them into constants. What elements are is an `alias` of the file, as
in `alias element = f32;`, which is replaced by its type wherever it stands. Texts between
`// if NAME` and `// end` lines stay where NAME is true; `// else` may stand between. A loop below a
line `// unroll`,

    // unroll
    for (var i = 0u; i < COUNT; i++) {

is written out turn by turn: devices guard loops and indices that vary against mistakes, which an
inner loop over registers cannot afford, and what has a number has nothing to be guarded.
"""
from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_UNROLLED = re.compile(r"^( *)// unroll\n *for \(var (\w+) = 0u; \2 < (\w+); \2\+\+\) \{"
                       r"( [^\n]* |\n.*?^\1)\}\n", re.M | re.S)
_OVERRIDE = re.compile(r"^override (\w+): (\w+)(?: = [^;]+)?;", re.M)
_ALIAS = re.compile(r"^alias (\w+) = (\w+);\n", re.M)


@cache
def source(name: str) -> str:
    """The text of a template file."""
    return (files(__package__) / "templates" / f"{name}.wgsl").read_text(encoding="utf-8")


def template(name: str, **constants: int | float | bool | str) -> str:
    """A template's text with these constants, flags and types of elements; those that are not
    named keep their defaults."""
    used: set[str] = set()

    def constant(found: re.Match) -> str:
        key, kind = found[1], found[2]
        used.add(key)
        value = f" = {_literal(constants[key], kind)};" if key in constants else \
            found[0][found[0].index(" ="):]
        return f"const {key}: {kind}{value}"

    text = _OVERRIDE.sub(constant, _typed(_chosen(source(name), constants), constants, used))
    text = _unrolled(text)
    flags = set(re.findall(r"^\s*// if (\w+)$", source(name), re.M))
    assert set(constants) <= used | flags, f"{name}.wgsl has no {set(constants) - used - flags}"
    return text


def _typed(text: str, types, used: set[str]) -> str:
    """The text with types for its aliases."""
    chosen = {name: types.get(name, kind) for name, kind in _ALIAS.findall(text)}
    text = _ALIAS.sub("", text)
    for name, kind in chosen.items():
        text = re.sub(rf"\b{name}\b", kind, text)
    used |= set(chosen)
    missing = "f16" in chosen.values() and "enable f16;" not in text
    return f"enable f16;\n{text}" if missing else text


def _literal(value: int | float | bool, kind: str) -> str:
    if kind == "bool":
        return "true" if value else "false"
    return f"{float(value)!r}f" if kind == "f32" else f"{int(value)}{'u' if kind == 'u32' else ''}"


def _unrolled(text: str) -> str:
    """The text with every loop below `// unroll` written out, the outer ones first."""
    lengths = dict(re.findall(r"^const (\w+): u32 = (\d+)u?;", text, re.M))

    def turns(found: re.Match) -> str:
        indent, counter, count, body = found.groups()
        length = int(lengths.get(count) or count.removesuffix("u"))
        return "".join(f"{indent}{{" + re.sub(rf"\b{counter}\b", f"{i}u", body) + "}\n"
                       for i in range(length))

    while (written := _UNROLLED.sub(turns, text)) != text:
        text = written
    assert "// unroll" not in text, "a loop below `// unroll` has another form than the one above"
    return text


def _chosen(text: str, flags) -> str:
    """The lines whose conditions hold. Conditions may stand inside each other."""
    lines, holds = [], [True]
    for line in text.splitlines():
        word = line.strip()
        if word.startswith("// if "):
            holds.append(holds[-1] and bool(flags.get(word[6:], False)))
        elif word == "// else":
            holds[-1] = holds[-2] and not holds[-1]
        elif word == "// end":
            holds.pop()
        elif holds[-1]:
            lines.append(line)
    return "\n".join(lines) + "\n"
