"""WebAssembly disassembler: modules as text, one statement per line, operands before operators.

`$3` pushes local 3, `=$3` sets it and `:=$3` sets it and keeps the value; `5` pushes an i32. A
vector constant with equal lanes is printed as one hexadecimal lane. All other instructions are
spelled as in the specification.
"""
from .assembler import OPCODES, TYPE_NAMES, Function, Module

_NAMES = {code: name for name, code in OPCODES.items()}
_ENDS_LINE = {"local.set", "table.set", "block", "loop", "if", "else", "end", "br", "br_if", "call",
              "return"}
_INDEXED = "local.", "br", "call", "ref.", "table."              # an index follows


def disassemble(module: Module) -> str:
    functions = [f"function {module.imported_functions + i}\n{_function(f)}"
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
    assert not words, "the code ends within a statement"
    types = [TYPE_NAMES[t] for t in function.params]
    counts = [f"{function.locals.count(t)} {name}" for t, name in TYPE_NAMES.items()
              if t in function.locals]
    header = f"  takes {' '.join(types)}", f"  locals {', '.join(counts) or 'none'}"
    return "\n".join([*header, *lines, ""])


def _instructions(code: bytes):
    """Yield the name and the text of each instruction."""
    offset = 0
    while offset < len(code):
        start, offset = offset, offset + 1
        if code[start] == 0xFD:
            _, offset = _unsigned(code, offset)
        name = _NAMES[code[start:offset]]
        text, offset = _immediates(name, code, offset)
        yield name, text


def _immediates(name: str, code: bytes, offset: int) -> tuple[str, int]:
    """Return the text of an instruction with its immediates, and the offset of the next one."""
    if name in ("v128.const", "i8x16.shuffle"):
        return _vector(name, code[offset:offset + 16]), offset + 16
    if name in ("block", "loop", "if"):
        return name, offset + 1
    if name == "f32.const":
        return f"f32 0x{int.from_bytes(code[offset:offset + 4], 'little'):08x}", offset + 4
    if name == "i32.const":
        n, offset = _signed(code, offset)
        return str(n), offset
    in_memory = ".load" in name or ".store" in name
    if in_memory:
        _, offset = _unsigned(code, offset)                  # the alignment
    count = in_memory + name.endswith("_lane") + name.startswith(_INDEXED)
    immediates = []
    for _ in range(count):
        n, offset = _unsigned(code, offset)
        immediates.append(str(n))
    prefix = {"local.get": "$", "local.set": "=$", "local.tee": ":=$"}.get(name, f"{name} ")
    return (prefix + " ".join(immediates)).rstrip(), offset


def _vector(name: str, data: bytes) -> str:
    lanes = [data[i:i + 4] for i in range(0, 16, 4)]
    if name == "i8x16.shuffle":
        return "shuffle " + " ".join(str(lane[0] // 4) for lane in lanes)
    words = [f"0x{int.from_bytes(lane, 'little'):08x}" for lane in lanes]
    return f"v128 {words[0]}" if len(set(words)) == 1 else f"v128 {' '.join(words)}"


def _unsigned(code: bytes, offset: int) -> tuple[int, int]:
    n = shift = 0
    while True:
        byte = code[offset]
        n |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return n, offset


def _signed(code: bytes, offset: int) -> tuple[int, int]:
    start = offset
    n, offset = _unsigned(code, offset)
    bits = 7 * (offset - start)
    return n - (1 << bits) if n >> (bits - 1) else n, offset
