"""Kernel statistics: FLOPs, bytes moved, and labels in plans and profiles."""
import pytest

import tensorbrook as tf
from backends import on
from golden_programs import zeros
from plan_interpreter import plan_of
from tensorbrook.ir.kernel_stats import format_si, bytes_moved, flops
from tensorbrook.ir.printer import label


def kernels(f, *arguments):
    with on("reference"):
        return [step.kernel for step in plan_of(tf.function(f), *arguments).steps]


def test_a_matmul_with_an_epilogue():
    k, = kernels(lambda x, w, b: tf.nn.relu(tf.matmul(x, w) + b), zeros(8, 5), zeros(5, 20),
                 zeros(20))
    assert flops(k) == 2 * 8 * 5 * 20 + 2 * 8 * 20
    assert bytes_moved(k) == 4 * (8 * 5 + 5 * 20 + 20 + 2 * 8 * 20)
    assert label(k) == "gemm(1,8,20,5,0,0,0,0) then loop (8,20): add, relu"


def test_a_reduction():
    k, = kernels(lambda x: tf.sqrt(tf.reduce_sum(x * 2.0, 1)), zeros(8, 9))
    assert flops(k) == 2 * 8 * 9 + 8 and bytes_moved(k) == 4 * (8 * 9 + 8)


@pytest.mark.parametrize("n, text", [(0, "0 B"), (999, "999 B"), (1000, "1 kB"),
                                     (3210000, "3.21 MB"), (5e9, "5 GB")])
def test_si_prefixes(n, text):
    assert format_si(n, "B") == text
