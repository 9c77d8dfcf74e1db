"""The shaders that are files: `templates/*.wgsl`, each a whole WGSL module with what it includes.

What several of them have in common is a file of `templates/pieces`, which stands where a line

    // include "include/pool.wgsl"

says so, in templates and in other pieces. What is chosen for each use is an `override` of the file:
sizes, so that loops have known lengths, and tunables. `template` turns them into constants. One
without a value must be given; so what Python goes by as well, as how many invocations a workgroup
has, is said in Python alone. What elements are is an `alias` of the file, as in
`alias element = f32;`, which is replaced by its type wherever it stands. WGSL's extensions are
enabled where the text uses them. Texts between `// if NAME` and `// end` lines stay where NAME is
true; `// else` may stand between. A loop below a line `// unroll`,

    // unroll
    for (var i = 0u; i < COUNT; i++) {

is written out turn by turn: devices guard loops and indices that vary against mistakes, which an
inner loop over registers cannot afford, and what has a number has nothing to be guarded.
"""
from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

FOLDER = files(__package__) / "templates"
_INCLUDE = re.compile(r'^// include "([\w/]+\.wgsl)"\n', re.M)
_UNROLLED = re.compile(r"^( *)// unroll\n *for \(var (\w+) = 0u; \2 < (\w+); \2\+\+\) \{"
                       r"( [^\n]* |\n.*?^\1)\}\n", re.M | re.S)
_OVERRIDE = re.compile(r"^override (\w+): (\w+)( = [^;]+)?;", re.M)
_EXTENSIONS = {"f16": r"\bf16\b", "subgroups": r"\bsubgroup(_size\b|[A-Z])"}
_ALIAS = re.compile(r"^alias (\w+) = (\w+);\n", re.M)


@cache
def load_source(name: str) -> str:
    """The text of a template file, with what it includes."""
    return _resolve_includes((f"{name}.wgsl",))


def _resolve_includes(way: tuple[str, ...]) -> str:
    """The text of the last of these files, of which each includes the next."""
    *including, name = way
    file = FOLDER / name
    assert name not in including, f"a circle: {' includes '.join(way)}"
    assert file.is_file(), f"there is no {name} (asked for: {' includes '.join(way)})"
    text = _INCLUDE.sub(lambda found: _resolve_includes((*way, found[1])), file.read_text(encoding="utf-8"))
    assert "// include" not in text, f"a line `// include` in {name} has a form of its own"
    return text


def instantiate(name: str, **constants: int | float | bool | str) -> str:
    """A template's text with these constants, flags and types of elements. What is not named keeps
    the value that the file gives it; a flag is off."""
    used: set[str] = set()

    def constant(found: re.Match) -> str:
        key, kind, value = found.groups()
        used.add(key)
        assert value or key in constants, f"{name}.wgsl is not told {key}"
        return f"const {key}: {kind}" + \
            (f" = {_literal(constants[key], kind)};" if key in constants else f"{value};")

    text = _OVERRIDE.sub(constant, _substitute_aliases(_apply_conditionals(load_source(name), constants), constants, used))
    text = _add_enables(_unroll_loops(text))
    flags = set(re.findall(r"^\s*// if (\w+)$", load_source(name), re.M))
    assert set(constants) <= used | flags, f"{name}.wgsl has no {set(constants) - used - flags}"
    return text


def _substitute_aliases(text: str, types, used: set[str]) -> str:
    """The text with types for its aliases."""
    chosen = {name: types.get(name, kind) for name, kind in _ALIAS.findall(text)}
    text = _ALIAS.sub("", text)
    for name, kind in chosen.items():
        assert not re.search(rf"\b(let|var|const|fn) {name}\b", text), f"{name} is a type"
        text = re.sub(rf"\b{name}\b", kind, text)
    used |= set(chosen)
    return text


def _add_enables(text: str) -> str:
    """The text behind the names of the extensions that it uses."""
    return "".join(f"enable {name};\n" for name, sign in _EXTENSIONS.items()
                   if re.search(sign, text)) + text


def _literal(value: int | float | bool, kind: str) -> str:
    if kind == "bool":
        return "true" if value else "false"
    return f"{float(value)!r}f" if kind == "f32" else f"{int(value)}{'u' if kind == 'u32' else ''}"


def _unroll_loops(text: str) -> str:
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


def _apply_conditionals(text: str, flags) -> str:
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
