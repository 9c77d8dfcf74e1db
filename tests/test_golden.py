"""Plans and generated code as text: a change of the compiler shows here, a refactor does not.

TENSORBROOK_GOLDEN=write makes the files anew; look at the difference before it is committed.
"""
import os

import environment
import pytest

import tensorbrook as tf
from backends import on
from golden_programs import CODE, PROGRAMS, SUBGROUPS, WGSL
from plan_interpreter import compile_graph, kernels_over_limit, plan_of
from wgsl_runner import code_of
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


def plan_named(name: str):
    with on("reference"):
        f, arguments = PROGRAMS[name]()
        return plan_of(tf.function(f), *arguments)


@pytest.mark.parametrize("name", PROGRAMS)
def test_plan(name):
    compare(f"{name}.txt", str(plan_named(name)))


@pytest.mark.parametrize("name", PROGRAMS)
def test_few_buffers(name):
    """As on a GPU, which binds eight at least."""
    with on("reference"):
        f, arguments = PROGRAMS[name]()
        graph = tf.function(f).get_concrete_function(*arguments).graph
    for most in (4, 8):
        assert not kernels_over_limit(compile_graph(graph, most), most)


@pytest.mark.parametrize("name", CODE)
def test_code(name):
    compare(f"{name}.code.txt", disassemble_plan(plan_named(name)))


@pytest.mark.parametrize("name", WGSL)
def test_wgsl(name):
    compare(f"{name}.wgsl.txt", "\n".join(code_of(plan_named(name))))


@pytest.mark.parametrize("name", SUBGROUPS)
def test_wgsl_with_subgroups(name):
    compare(f"{name}.subgroups.txt", "\n".join(code_of(plan_named(name), min_subgroup_size=4)))


def test_no_file_is_left_over():
    kept = {f"{name}.txt" for name in PROGRAMS} | {f"{name}.code.txt" for name in CODE}
    kept |= {f"{name}.wgsl.txt" for name in WGSL}
    kept |= {f"{name}.subgroups.txt" for name in SUBGROUPS}
    assert {path.name for path in FOLDER.iterdir()} == kept
