"""Modules as text to read and to compare: one statement a line, operands before what takes them.

`$3` pushes local 3 and `=$3` sets it, `5` pushes an i32; a vector constant whose lanes agree is
one hexadecimal lane. Everything else is spelled as in the specification.
"""
from .assembler import OPCODES, TYPE_NAMES, Function, Module

_NAMES = {code: name for name, code in OPCODES.items()}
_ENDS_LINE = {"local.set", "table.set", "block", "loop", "if", "else", "end", "br", "br_if", "call",
              "return"}
_NUMBERED = "local.", "br", "call", "ref.", "table."             # a number follows


def disassemble(module: Module) -> str:
    functions = [f"function {module.imported + i}\n{_function(f)}"
                 for i, f in enumerate(module.functions)]
    return "\n".join(functions)


def _function(function: Function) -> str:
    lines, words, depth = [], [], 1
    for name, word in _instructions(bytes(function.code)):
        if name in ("end", "else"):
            depth -= 1
        words.append(word)
        if name in _ENDS_LINE or ".store" in name:
            lines.append("  " * depth + " ".join(words))
            words = []
        if name in ("block", "loop", "if", "else"):
            depth += 1
    assert not words, "the code ends in the middle of a statement"
    types = [TYPE_NAMES[t] for t in function.params]
    counts = [f"{function.locals.count(t)} {name}" for t, name in TYPE_NAMES.items()
              if t in function.locals]
    head = f"  takes {' '.join(types)}", f"  locals {', '.join(counts) or 'none'}"
    return "\n".join([*head, *lines, ""])


def _instructions(code: bytes):
    """Pairs of an instruction's name and its text."""
    at = 0
    while at < len(code):
        start, at = at, at + 1
        if code[start] == 0xFD:
            _, at = _unsigned(code, at)
        name = _NAMES[code[start:at]]
        text, at = _immediates(name, code, at)
        yield name, text


def _immediates(name: str, code: bytes, at: int) -> tuple[str, int]:
    """The text of an instruction with what follows it, and where that ends."""
    if name in ("v128.const", "i8x16.shuffle"):
        return _vector(name, code[at:at + 16]), at + 16
    if name in ("block", "loop", "if"):
        return name, at + 1
    if name == "f32.const":
        return f"f32 0x{int.from_bytes(code[at:at + 4], 'little'):08x}", at + 4
    if name == "i32.const":
        n, at = _signed(code, at)
        return str(n), at
    in_memory = ".load" in name or ".store" in name
    if in_memory:
        _, at = _unsigned(code, at)                  # the alignment
    count = in_memory + name.endswith("_lane") + name.startswith(_NUMBERED)
    numbers = []
    for _ in range(count):
        n, at = _unsigned(code, at)
        numbers.append(str(n))
    prefix = {"local.get": "$", "local.set": "=$", "local.tee": ":=$"}.get(name, f"{name} ")
    return (prefix + " ".join(numbers)).rstrip(), at


def _vector(name: str, data: bytes) -> str:
    lanes = [data[i:i + 4] for i in range(0, 16, 4)]
    if name == "i8x16.shuffle":
        return "shuffle " + " ".join(str(lane[0] // 4) for lane in lanes)
    words = [f"0x{int.from_bytes(lane, 'little'):08x}" for lane in lanes]
    return f"v128 {words[0]}" if len(set(words)) == 1 else f"v128 {' '.join(words)}"


def _unsigned(code: bytes, at: int) -> tuple[int, int]:
    n = shift = 0
    while True:
        byte = code[at]
        n |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return n, at


def _signed(code: bytes, at: int) -> tuple[int, int]:
    start = at
    n, at = _unsigned(code, at)
    bits = 7 * (at - start)
    return n - (1 << bits) if n >> (bits - 1) else n, at
