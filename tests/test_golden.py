"""Golden tests: plans and generated code as text, which a refactoring leaves unchanged.

TENSORBROOK_GOLDEN=write writes the files again; review the diff before you commit it.
"""
import os

import environment
import pytest

import tensorbrook as tf
from backends import on
from golden_programs import CODE, PROGRAMS, SUBGROUPS, WGSL
from plan_interpreter import compile_graph, kernels_over_limit, plan_of
from wgsl_runner import shaders_of
from tensorbrook.backends.wasm.module_codegen import disassemble_plan

FOLDER = environment.ROOT / "tests" / "golden"


def compare(name: str, text: str):
    path = FOLDER / name
    if os.environ.get("TENSORBROOK_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.rstrip() + "\n", encoding="utf-8")
    assert path.is_file(), f"there is no {name}; run this with TENSORBROOK_GOLDEN=write"
    assert path.read_text(encoding="utf-8").rstrip() == text.rstrip(), \
        f"{name} differs; if it should, run this with TENSORBROOK_GOLDEN=write and look at the diff"


def plan_of_program(name: str):
    with on("reference"):
        f, arguments = PROGRAMS[name]()
        return plan_of(tf.function(f), *arguments)


@pytest.mark.parametrize("name", PROGRAMS)
def test_plan(name):
    compare(f"{name}.txt", str(plan_of_program(name)))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_number_of_buffers_is_limited(name):
    """The WebGPU minimum is 8 storage buffers."""
    with on("reference"):
        f, arguments = PROGRAMS[name]()
        graph = tf.function(f).get_concrete_function(*arguments).graph
    for limit in (4, 8):
        assert not kernels_over_limit(compile_graph(graph, limit), limit)


@pytest.mark.parametrize("name", CODE)
def test_code(name):
    compare(f"{name}.code.txt", disassemble_plan(plan_of_program(name)))


@pytest.mark.parametrize("name", WGSL)
def test_wgsl(name):
    compare(f"{name}.wgsl.txt", "\n".join(shaders_of(plan_of_program(name))))


@pytest.mark.parametrize("name", SUBGROUPS)
def test_wgsl_with_subgroups(name):
    shaders = shaders_of(plan_of_program(name), min_subgroup_size=4)
    compare(f"{name}.subgroups.txt", "\n".join(shaders))


def test_there_are_no_unused_files():
    expected = {f"{name}.txt" for name in PROGRAMS} | {f"{name}.code.txt" for name in CODE}
    expected |= {f"{name}.wgsl.txt" for name in WGSL}
    expected |= {f"{name}.subgroups.txt" for name in SUBGROUPS}
    assert {path.name for path in FOLDER.iterdir()} == expected
