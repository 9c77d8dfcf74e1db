"""Assembler and disassembler: encodings against wasmtime's, and the text of generated code."""
import numpy as np
import pytest
import wasmtime

from wasm_program_runner import plan_of_loop, var_like
from tensorbrook.backends.wasm.assembler import (
    F32,
    I32,
    OPCODES,
    V128,
    Function,
    Module,
    f32_const,
    i32_const,
    signed,
    unsigned,
    v128_const,
)
from tensorbrook.backends.wasm.disassembler import disassemble
from tensorbrook.backends.wasm.module_codegen import disassemble_plan
from tensorbrook.base.dtypes import float32
from tensorbrook.base.views import View
from tensorbrook.ir import ElementwiseOp, Load, LoopKernel, ReduceOp, Reduction, RowPass, Store
from tensorbrook.ir.scalar_expression import scalar_expression

# The immediates of instructions in the text format.
IMMEDIATES = {"br": "0", "br_if": "0", "call": "0", "local.get": "0", "local.set": "0",
              "local.tee": "0", "i32.const": "0", "f32.const": "0", "v128.const": "i32x4 0 0 0 0",
              "table.set": "0", "ref.func": "0",
              "i8x16.shuffle": "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"}
STRUCTURE = {"block", "loop", "if", "else", "end"}


@pytest.mark.parametrize("name", sorted(set(OPCODES) - STRUCTURE))
def test_opcode(name):
    immediates = IMMEDIATES.get(name, "0" if name.endswith("_lane") else "")
    text = "(module (memory 0) (table 0 funcref) (elem declare func 0) " \
           f"(func (param i32) unreachable {name} {immediates} unreachable))"
    begin = b"\0" + OPCODES["unreachable"]             # no locals, then the first instruction
    assert begin + OPCODES[name] in bytes(wasmtime.wat2wasm(text))


def test_structured_control_opcodes():
    code = bytes(wasmtime.wat2wasm(
        "(module (func i32.const 0 if block loop end end else end))"))
    words = ["if", 0x40, "block", 0x40, "loop", 0x40, "end", "end", "else", "end"]
    expected = b"".join(bytes([w]) if isinstance(w, int) else OPCODES[w] for w in words)
    assert expected in code


@pytest.mark.parametrize("n, code", [(0, "00"), (127, "7f"), (128, "8001"), (624485, "e58e26"),
                                     (2**32 - 1, "ffffffff0f")])
def test_unsigned_leb128(n, code):
    assert unsigned(n).hex() == code


@pytest.mark.parametrize("n, code", [(0, "00"), (-1, "7f"), (63, "3f"), (64, "c000"), (-64, "40"),
                                     (-65, "bf7f"), (-123456, "c0bb78"), (-2**31, "8080808078")])
def test_signed_leb128(n, code):
    assert signed(n).hex() == code


def test_constants_wrap_to_32_bits():
    assert i32_const(2**32 - 1) == i32_const(-1)
    assert i32_const(2**31) == i32_const(-2**31)


def factorial() -> Module:
    """A module whose function stores n! at address 0; its locals have mixed types."""
    module, f = Module(), Function((I32,))
    module.import_memory("env", "memory", shared=False)
    f.local(V128)
    out = f.local(I32)
    f.local(F32)
    f.const(1)
    f.set(out)
    f.block("loop")
    f.get(out)
    f.get(0)
    f.op("i32.mul")
    f.set(out)
    f.get(0)
    f.const(-1)
    f.op("i32.add")
    f.tee(0)
    f.op("br_if", 0)
    f.op("end")
    f.const(0)
    f.get(out)
    f.memory("i32.store", 0)
    module.export("factorial", module.add(f))
    return module


def test_a_module_runs():
    store = wasmtime.Store()
    memory = wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(1, None)))
    module = wasmtime.Module(store.engine, factorial().encode())
    wasmtime.Instance(store, module, [memory]).exports(store)["factorial"](store, 10)
    assert int.from_bytes(memory.read(store, 0, 4), "little") == 3628800


def test_imports_come_before_functions():
    module = Module()
    assert module.import_function("engine", "one", (I32, F32)) == 0
    assert module.import_function("engine", "two", ()) == 1
    assert module.add(Function((I32,))) == 2
    with pytest.raises(AssertionError, match="function indices begin after the imports"):
        module.import_function("engine", "late", ())
    imports = wasmtime.Module(wasmtime.Engine(), module.encode()).imports
    assert [(i.module, i.name, len(i.type.params)) for i in imports] == [
        ("engine", "one", 2), ("engine", "two", 0)]


def test_a_function_is_stored_in_a_table():
    module, callee, caller = Module(), Function((I32,)), Function(())
    module.import_table("engine", "functions")
    index = module.add(callee)
    caller.const(3)
    caller.op("ref.func", index)
    caller.op("table.set", 0)
    module.referenced.append(index)
    module.export("run", module.add(caller))
    store = wasmtime.Store()
    type = wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(4, None))
    table = wasmtime.Table(store, type, None)
    instance = wasmtime.Instance(store, wasmtime.Module(store.engine, module.encode()), [table])
    instance.exports(store)["run"](store)
    assert [not callable(table.get(store, i)) for i in range(4)] == [True, True, True, False]
    assert "3 ref.func 0 table.set 0" in disassemble(module)


def test_a_shared_memory_import_has_a_maximum():
    module = Module()
    module.import_memory("env", "memory", shared=True)
    config = wasmtime.Config()
    config.wasm_threads = True
    config.shared_memory = True
    memory, = wasmtime.Module(wasmtime.Engine(config), module.encode()).imports
    assert memory.type.is_shared
    assert memory.type.limits.max == 65535


def test_every_kind_of_immediate_is_printed():
    module, f = Module(), Function((I32,))
    f.code += v128_const(bytes(range(16))) + f32_const(1.5)
    f.op("drop")
    f.get(0)
    f.memory("v128.load32_lane", 300, 2)
    f.op("i32x4.extract_lane", 3)
    f.tee(0)
    f.op("br_if", 1)
    module.add(f)
    v128 = "v128 0x03020100 0x07060504 0x0b0a0908 0x0f0e0d0c"
    assert statements(module) == [
        f"{v128} f32 0x3fc00000 drop $0 v128.load32_lane 300 2 i32x4.extract_lane 3 :=$0 br_if 1"]


def statements(module: Module) -> list[str]:
    """The statements of a module with one function."""
    return [line.strip() for line in disassemble(module).splitlines()[3:] if line]


ROW_SUMS = """\
function 0
  takes i32 i32 i32 i32
  locals 4 i32, 5 v128
  $2 =$4
  $3 =$5
  v128 0x40000000 =$6
  3 =$7
  loop
    v128 0x00000000 =$8
    v128 0x00000000 =$9
    v128 0x00000000 =$10
    $4 =$11
    $11 v128.load 0 $6 $8 f32x4.relaxed_madd =$8
    $11 v128.load 16 $6 $9 f32x4.relaxed_madd =$9
    $11 32 i32.add =$11
    $11 v128.load32_splat 0 $6 $10 f32x4.relaxed_madd =$10
    $11 4 i32.add =$11
    $8 $9 f32x4.add =$8
    $8 $8 shuffle 2 3 0 1 =$12
    $8 $12 f32x4.add =$8
    $8 $8 shuffle 1 0 3 2 =$12
    $8 $12 f32x4.add =$8
    $10 $8 f32x4.add =$10
    $5 $10 v128.store32_lane 0 0
    $4 36 i32.add =$4
    $5 4 i32.add =$5
    $7 -1 i32.add :=$7 br_if 0
  end

function 1
  takes i32 i32
  locals 2 i32
  $1 i32.load 0 =$2
  $1 i32.load 4 =$3
  $0 i32.eqz if
    0 1 $1 i32.load 8 $1 i32.load 12 call 0
  end
"""


def test_disassembly_of_a_program():
    x, out = np.zeros((3, 9), np.float32), np.zeros((3, 1), np.float32)
    load = Load(var_like(x, float32), View.of((3, 9)), float32)
    body = load, ElementwiseOp(scalar_expression("x * 2"), (0,), float32)
    total = ReduceOp(1, Reduction(scalar_expression("x + y"), 0), float32)
    store = Store(2, var_like(out, float32), View.of((3, 1)))
    plan = plan_of_loop(LoopKernel((3, 9), (1,), (RowPass(body, (total,)),), (store,), ()))
    assert disassemble_plan(plan) == ROW_SUMS
