"""GEMM algorithms of backend webgpu: time every algorithm beside the one that it selects."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from statistics import median
from unittest.mock import patch

import numpy as np

import tensorbrook as tf
from tensorbrook.backends.webgpu.kernels import gemm
from tensorbrook.backends.webgpu.kernels.gemm import PerElementGemm, GemmShape, TiledGemm

from ..statistics import significant, steps_for
from ..table import table
from .ours import Ours

COUNT = 8                  # products per call, to reduce the share of Python's overhead
SHAPES = tuple(GemmShape(1, *sizes) for sizes in (
    (128, 128, 128), (256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048),
    # Of a GPT: layers, weight gradients, head. Then eight rows or fewer at inference.
    (8192, 1152, 384), (8192, 1536, 384), (8192, 384, 1536), (384, 1536, 8192, 1, 0),
    (384, 384, 8192, 1, 0), (8192, 96, 384), (8, 4096, 4096), (2, 4096, 4096), (1, 4096, 4096)))
SMALL = (GemmShape(1, 40, 40, 40),)


def measure(ours: Ours, small: bool) -> list[dict]:
    """Microseconds of a product by shape and algorithm, and the selected algorithm."""
    return [measure_shape(ours, p, 2 if small else 60) for p in (SMALL if small else SHAPES)]


def measure_shape(ours: Ours, p: GemmShape, repetition_ms: float) -> dict:
    device_info = ours.host.device_info
    canonical = gemm.canonicalize(p)
    selected = gemm.select_algorithm(canonical, device_info)
    algorithms = dict.fromkeys(
        [selected, PerElementGemm(), *gemm.tile_candidates(canonical, device_info)])
    times = {name(each): measure_algorithm(ours, p, each, repetition_ms) for each in algorithms}
    return {"shape": [p.m, p.n, p.k, p.transpose_a, p.transpose_b], "selected": name(selected),
            "microseconds": times}


def measure_algorithm(ours: Ours, p: GemmShape, algorithm, repetition_ms: float) -> float:
    generator = np.random.default_rng(0)
    a_shape, b_shape = (p.k, p.m) if p.transpose_a else (p.m, p.k), (p.k, p.n)
    lefts = [tf.constant(generator.random(a_shape, np.float32)) for _ in range(COUNT)]
    b = tf.constant(generator.random(b_shape, np.float32))

    @tf.function
    def products(b, *lefts):
        return [tf.matmul(a, b, transpose_a=bool(p.transpose_a)) for a in lefts]

    with patch.object(gemm, "select_algorithm", lambda *_: algorithm):
        products(b, *lefts)
    elapsed_us = microseconds_per_call(lambda: products(b, *lefts), ours.wait, repetition_ms)
    gc.collect()
    return elapsed_us / COUNT


def microseconds_per_call(call: Callable, wait: Callable, repetition_ms: float,
                          repetitions: int = 5) -> float:
    """The median over repetitions, each of which ends when the device is idle."""
    def run_calls(calls: int) -> float:
        wait()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        return 1000 * (time.perf_counter() - start) / calls

    calls = steps_for(repetition_ms, run_calls(3), limit=10_000)
    return 1000 * median(run_calls(calls) for _ in range(repetitions))


def name(algorithm) -> str:
    if isinstance(algorithm, PerElementGemm):
        return "per element"
    kind = f"tiles of {algorithm.tile.side}" if isinstance(algorithm, TiledGemm) else "gemv"
    return f"{kind}, split-k {algorithm.split_k}" if algorithm.split_k > 1 else kind


def format_table(results: list[dict]) -> str:
    """The selected algorithm beside the fastest one."""
    rows = []
    for each in results:
        m, n, k, transpose_a, _ = each["shape"]
        times = each["microseconds"]
        fastest = min(times, key=times.get)
        selected_us, fastest_us = times[each["selected"]], times[fastest]
        rows.append([f"{m} x {n} x {k}{' TN' if transpose_a else ''}", each["selected"],
                     significant(selected_us), fastest, significant(fastest_us),
                     f"{fastest_us / selected_us:.0%}"])
    return table(["product", "selected", "µs", "fastest", "µs", "fastest / selected"], rows)
