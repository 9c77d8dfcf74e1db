"""A small WebAssembly assembler: encodes instructions, functions and modules.

Names are those of the specification (https://webassembly.github.io/spec/core/binary/).
"""
from struct import pack

from .host import MAX_PAGES

I32, F32, F64, V128 = 0x7F, 0x7D, 0x7C, 0x7B
TYPE_NAMES = {I32: "i32", F32: "f32", F64: "f64", V128: "v128"}
VOID = b"\x40"                   # the type of a block without parameters and results

_PLAIN = """
00 unreachable 02 block 03 loop 04 if 05 else 0b end 0c br 0d br_if 0f return 10 call 1a drop
1b select 20 local.get 21 local.set 22 local.tee 26 table.set 28 i32.load 36 i32.store
39 f64.store 41 i32.const 43 f32.const
45 i32.eqz 46 i32.eq 47 i32.ne 48 i32.lt_s 49 i32.lt_u 4a i32.gt_s 4b i32.gt_u 4c i32.le_s
4d i32.le_u 4e i32.ge_s 4f i32.ge_u 6a i32.add 6b i32.sub 6c i32.mul 6d i32.div_s 6e i32.div_u
6f i32.rem_s 70 i32.rem_u 71 i32.and 72 i32.or 73 i32.xor 74 i32.shl 75 i32.shr_s 76 i32.shr_u
d2 ref.func
"""

_VECTOR = """
00 v128.load 07 v128.load8_splat 09 v128.load32_splat 0b v128.store 0c v128.const 0d i8x16.shuffle
11 i32x4.splat 13 f32x4.splat 1b i32x4.extract_lane 1c i32x4.replace_lane 1f f32x4.extract_lane
37 i32x4.eq 38 i32x4.ne 39 i32x4.lt_s 3a i32x4.lt_u 3b i32x4.gt_s 3c i32x4.gt_u 3d i32x4.le_s
3e i32x4.le_u 3f i32x4.ge_s 40 i32x4.ge_u 41 f32x4.eq 42 f32x4.ne 43 f32x4.lt 44 f32x4.gt
45 f32x4.le 46 f32x4.ge 47 f64x2.eq 48 f64x2.ne 49 f64x2.lt 4a f64x2.gt 4b f64x2.le 4c f64x2.ge
4d v128.not 4e v128.and 4f v128.andnot 50 v128.or 51 v128.xor 52 v128.bitselect 54 v128.load8_lane
56 v128.load32_lane 58 v128.store8_lane 5a v128.store32_lane 5c v128.load32_zero
5e f32x4.demote_f64x2_zero 5f f64x2.promote_low_f32x4 66 i8x16.narrow_i16x8_u 67 f32x4.ceil
68 f32x4.floor 69 f32x4.trunc 6a f32x4.nearest 74 f64x2.ceil 75 f64x2.floor 7a f64x2.trunc
86 i16x8.narrow_i32x4_u 89 i16x8.extend_low_i8x16_u 94 f64x2.nearest a0 i32x4.abs a1 i32x4.neg
a9 i32x4.extend_low_i16x8_u ab i32x4.shl ac i32x4.shr_s ad i32x4.shr_u ae i32x4.add b1 i32x4.sub
b5 i32x4.mul b6 i32x4.min_s b7 i32x4.min_u b8 i32x4.max_s b9 i32x4.max_u e0 f32x4.abs e1 f32x4.neg
e3 f32x4.sqrt e4 f32x4.add e5 f32x4.sub e6 f32x4.mul e7 f32x4.div e8 f32x4.min e9 f32x4.max
ea f32x4.pmin eb f32x4.pmax ec f64x2.abs ed f64x2.neg ef f64x2.sqrt f0 f64x2.add f1 f64x2.sub
f2 f64x2.mul f3 f64x2.div f4 f64x2.min f5 f64x2.max f6 f64x2.pmin f7 f64x2.pmax
f8 i32x4.trunc_sat_f32x4_s f9 i32x4.trunc_sat_f32x4_u fa f32x4.convert_i32x4_s
fb f32x4.convert_i32x4_u fc i32x4.trunc_sat_f64x2_s_zero fe f64x2.convert_low_i32x4_s
105 f32x4.relaxed_madd 107 f64x2.relaxed_madd 10b i32x4.relaxed_laneselect
"""


def unsigned(n: int) -> bytes:
    """Encode an unsigned integer in LEB128."""
    if n < 0x80:
        return _SMALL[n]
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def signed(n: int) -> bytes:
    """Encode an integer in signed LEB128."""
    out = bytearray()
    while not -0x40 <= n < 0x40:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n & 0x7F)
    return bytes(out)


def _table(text: str, encode) -> dict[str, bytes]:
    words = text.split()
    return {name: encode(int(opcode, 16)) for opcode, name in zip(words[::2], words[1::2])}


_SMALL = tuple(bytes([n]) for n in range(0x80))
OPCODES = (_table(_PLAIN, lambda n: bytes([n]))
           | _table(_VECTOR, lambda n: b"\xfd" + unsigned(n)))
_GET, _SET, _TEE = OPCODES["local.get"], OPCODES["local.set"], OPCODES["local.tee"]


def i32_const(n: int) -> bytes:
    """Return the instruction that pushes `n` modulo 2^32."""
    return b"\x41" + signed((n + 0x80000000 & 0xFFFFFFFF) - 0x80000000)


def f32_const(x: float) -> bytes:
    return b"\x43" + pack("<f", x)


def v128_const(data: bytes) -> bytes:
    assert len(data) == 16
    return b"\xfd\x0c" + data


def shuffle(*lanes: int) -> bytes:
    """Return the instruction that selects 32-bit lanes: 0-3 of one vector, 4-7 of another."""
    return b"\xfd\x0d" + bytes(4 * lane + i for lane in lanes for i in range(4))


class Function:
    """A function without results; its methods append instructions."""

    __slots__ = ("params", "locals", "code")

    def __init__(self, params: tuple[int, ...]):
        self.params, self.locals, self.code = params, [], bytearray()

    def local(self, type: int) -> int:
        """Add a local variable and return its index."""
        self.locals.append(type)
        return len(self.params) + len(self.locals) - 1

    def get(self, local: int):
        self.code += _GET + unsigned(local)

    def set(self, local: int):
        self.code += _SET + unsigned(local)

    def tee(self, local: int):
        self.code += _TEE + unsigned(local)

    def const(self, n: int):
        self.code += i32_const(n)

    def op(self, name: str, *immediates: int):
        self.code += OPCODES[name]
        for n in immediates:
            self.code += unsigned(n)

    def block(self, name: str):
        """Begin a `block`, `loop` or `if`, which `op("end")` ends."""
        self.code += OPCODES[name] + VOID

    def memory(self, name: str, offset: int, *lane: int):
        """Append a load or store, `offset` bytes after the address on the stack, unaligned."""
        self.op(name, 0, offset, *lane)

    def encode(self) -> bytes:
        groups: list[list[int]] = []
        for type in self.locals:
            if groups and groups[-1][1] == type:
                groups[-1][0] += 1
            else:
                groups.append([1, type])
        body = _vector([unsigned(n) + bytes([type]) for n, type in groups]) + self.code + b"\x0b"
        return unsigned(len(body)) + body


class Module:
    """A module; add all imports before the first function."""

    def __init__(self):
        self.types: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        self.imports: list[bytes] = []
        self.imported_functions = 0
        self.functions: list[Function] = []
        self.exports: list[bytes] = []
        self.referenced: list[int] = []          # the operands of all `ref.func`

    def _type(self, params: tuple[int, ...], results: tuple[int, ...] = ()) -> int:
        return self.types.setdefault((tuple(params), tuple(results)), len(self.types))

    def import_memory(self, module: str, name: str, shared: bool):
        limits = b"\x03\x01" + unsigned(MAX_PAGES) if shared else b"\x00\x01"
        self.imports.append(_name(module) + _name(name) + b"\x02" + limits)

    def import_table(self, module: str, name: str):
        """Import a function table of any size."""
        self.imports.append(_name(module) + _name(name) + b"\x01\x70\x00\x00")

    def import_function(self, module: str, name: str, params: tuple[int, ...],
                        results: tuple[int, ...] = ()) -> int:
        assert not self.functions, "function indices begin after the imports"
        entry = _name(module) + _name(name) + b"\x00" + unsigned(self._type(params, results))
        self.imports.append(entry)
        self.imported_functions += 1
        return self.imported_functions - 1

    def add(self, function: Function) -> int:
        self.functions.append(function)
        return self.imported_functions + len(self.functions) - 1

    def export(self, name: str, function: int):
        self.exports.append(_name(name) + b"\x00" + unsigned(function))

    def encode(self) -> bytes:
        type_indices = [unsigned(self._type(f.params)) for f in self.functions]
        types = [b"\x60" + b"".join(_vector([bytes([t]) for t in side]) for side in type)
                 for type in self.types]
        declared = [b"\x03\x00" + _vector([unsigned(f) for f in dict.fromkeys(self.referenced)])]
        sections = ((1, types), (2, self.imports), (3, type_indices), (7, self.exports),
                    (9, declared if self.referenced else []),
                    (10, [f.encode() for f in self.functions]))
        return b"\0asm\x01\0\0\0" + b"".join(
            _SMALL[id] + _sized(_vector(items)) for id, items in sections if items)


def _sized(data: bytes) -> bytes:
    return unsigned(len(data)) + data


def _vector(items: list[bytes]) -> bytes:
    return unsigned(len(items)) + b"".join(items)


def _name(text: str) -> bytes:
    return _sized(text.encode())
