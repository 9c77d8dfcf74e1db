"""The compiler pipeline: docs/compiler.md lists every pass in order and shows a real dump."""
import inspect
import os
import re
import subprocess
import sys

import pytest

import environment
from tensorbrook.compiler import pipeline
from tensorbrook.compiler.context import PassContext
from tensorbrook.compiler.lowering import Lowering
from tensorbrook.ir import Graph

PAGE = (environment.ROOT / "docs/compiler.md").read_text(encoding="utf-8")
STAGES = ("LEGALIZATION", "SIMPLIFICATION", "FUSION", "KERNELS", "PLANNING")
PASSES = [(stage, each) for stage in STAGES for each in getattr(pipeline, stage)]
ROW = re.compile(r"^\| ([A-Z]+) \| `(\w+)` \| `([\w/.]+)` \| (.+) \|$", re.M)
DUMP = re.compile(r"^(\w+):\n\n```text\n(.*?)```$", re.M | re.S)


def file_of(compiler_pass) -> str:
    return inspect.getmodule(compiler_pass).__name__.split("compiler.")[1].replace(".", "/") + ".py"


def test_the_table_of_passes_equals_the_pipeline():
    assert [row[:3] for row in ROW.findall(PAGE)] == [
        (stage, each.__name__, file_of(each)) for stage, each in PASSES]


def test_each_pass_has_its_own_file():
    files = [file_of(each) for _, each in PASSES]
    assert len(set(files)) == len(files)


@pytest.mark.parametrize("stage, each", PASSES, ids=lambda x: getattr(x, "__name__", x))
def test_passes_have_one_signature(stage, each):
    program = Graph if stage in ("LEGALIZATION", "SIMPLIFICATION") else Lowering
    signature = inspect.signature(each, eval_str=True)
    first, context = signature.parameters.values()
    assert (first.annotation, context.annotation) == (program, PassContext)
    assert signature.return_annotation is program
    assert inspect.getdoc(each)


def test_the_dump_in_the_docs_is_real(tmp_path):
    section = PAGE.split("## A dump of the pipeline")[1].split("\n## ")[0]
    source = re.search(r"```python\n(.*?)```", section, re.S)[1]
    blocks = DUMP.findall(section)
    assert len(blocks) >= 6
    subprocess.run([sys.executable, "-c", source], check=True, timeout=300,
                   env=os.environ | {"TENSORBROOK_DUMP": str(tmp_path)})
    files = sorted(path.name for path in tmp_path.iterdir())
    last = len(files) - len(PASSES)
    # The program of `step` is the last one; the one of tf.ones comes before it.
    assert [name.split("-", 1)[1] for name in files[last:]] == [
        f"{each.__name__}.txt" for _, each in PASSES]
    texts = {name.split("-", 1)[1].removesuffix(".txt"): (tmp_path / name).read_text()
             for name in files[last:]}
    for name, text in blocks:
        assert texts[name] == text, name
