"""Shader templates: `templates/*.wgsl`, WGSL modules with includes, conditionals and constants.

A line

    // include "include/pool.wgsl"

is replaced by that file, in templates and in included files. An `override` is a tunable or a size
that is chosen for each use; `instantiate` makes overrides constants, so that loops have known
lengths. An override without a default value must be passed: values that Python uses too, such as
the workgroup size, are written in Python alone. An `alias` such as `alias element = f32;` is an
element type; its name is replaced by the chosen type. WGSL extensions that the text uses are
enabled. Lines between `// if NAME` and `// end` are kept if the flag NAME is true; they may contain
`// else`. A loop below a line `// unroll`,

    // unroll
    for (var i = 0u; i < COUNT; i++) {

is unrolled. Implementations of WebGPU add checks to loops and to variable indices, which are too
expensive in an inner loop over registers; a constant index needs no check.
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
    """Return the text of a template file with its includes resolved."""
    return _resolve_includes((f"{name}.wgsl",))


def _resolve_includes(path: tuple[str, ...]) -> str:
    """Return the text of the last file of an include path, in which each file includes the next."""
    *parents, name = path
    file = FOLDER / name
    assert name not in parents, f"circular include: {' includes '.join(path)}"
    assert file.is_file(), f"there is no {name} (include path: {' includes '.join(path)})"
    text = _INCLUDE.sub(lambda match: _resolve_includes((*path, match[1])),
                        file.read_text(encoding="utf-8"))
    assert "// include" not in text, f"malformed `// include` line in {name}"
    return text


def instantiate(name: str, **settings: int | float | bool | str) -> str:
    """Return a template's text with the given constants, flags and element types. An unnamed
    constant or type keeps its default in the file; an unnamed flag is off."""
    used: set[str] = set()

    def constant(match: re.Match) -> str:
        key, kind, default = match.groups()
        used.add(key)
        assert default or key in settings, f"{name}.wgsl needs a value of {key}"
        return f"const {key}: {kind}" + \
            (f" = {_literal(settings[key], kind)};" if key in settings else f"{default};")

    source = load_source(name)
    text = _substitute_aliases(_apply_conditionals(source, settings), settings, used)
    text = _add_enables(_unroll_loops(_OVERRIDE.sub(constant, text)))
    unknown = set(settings) - used - set(re.findall(r"^\s*// if (\w+)$", source, re.M))
    assert not unknown, f"{name}.wgsl has no {unknown}"
    return text


def _substitute_aliases(text: str, settings, used: set[str]) -> str:
    """Replace the aliases by their types; adds their names to `used`."""
    types = {name: settings.get(name, default) for name, default in _ALIAS.findall(text)}
    text = _ALIAS.sub("", text)
    for name, kind in types.items():
        assert not re.search(rf"\b(let|var|const|fn) {name}\b", text), f"{name} is a type"
        text = re.sub(rf"\b{name}\b", kind, text)
    used |= set(types)
    return text


def _add_enables(text: str) -> str:
    """Prepend the directives that enable the extensions of the text."""
    return "".join(f"enable {name};\n" for name, pattern in _EXTENSIONS.items()
                   if re.search(pattern, text)) + text


def _literal(value: int | float | bool, kind: str) -> str:
    if kind == "bool":
        return "true" if value else "false"
    return f"{float(value)!r}f" if kind == "f32" else f"{int(value)}{'u' if kind == 'u32' else ''}"


def _unroll_loops(text: str) -> str:
    """Unroll every loop below `// unroll`, outer loops first."""
    lengths = dict(re.findall(r"^const (\w+): u32 = (\d+)u?;", text, re.M))

    def unroll(match: re.Match) -> str:
        indent, index, count, body = match.groups()
        length = int(lengths.get(count) or count.removesuffix("u"))
        return "".join(f"{indent}{{" + re.sub(rf"\b{index}\b", f"{i}u", body) + "}\n"
                       for i in range(length))

    while (unrolled := _UNROLLED.sub(unroll, text)) != text:
        text = unrolled
    assert "// unroll" not in text, "a loop below `// unroll` has an unsupported form"
    return text


def _apply_conditionals(text: str, flags) -> str:
    """Keep the lines whose conditions, which may be nested, are true."""
    lines, active = [], [True]
    for line in text.splitlines():
        directive = line.strip()
        if directive.startswith("// if "):
            active.append(active[-1] and bool(flags.get(directive[6:], False)))
        elif directive == "// else":
            active[-1] = active[-2] and not active[-1]
        elif directive == "// end":
            active.pop()
        elif active[-1]:
            lines.append(line)
    return "\n".join(lines) + "\n"
