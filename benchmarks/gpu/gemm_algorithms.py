"""Products of one shape made in every way that the GPU's backend knows: does it choose well?"""

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

COUNT = 8                  # products in a call, so that what Python adds to it shows less
SHAPES = tuple(GemmShape(1, *sizes) for sizes in (
    (128, 128, 128), (256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048),
    # A GPT's: its layers, their weights' gradients, its head. Then eight rows at inference.
    (8192, 1152, 384), (8192, 1536, 384), (8192, 384, 1536), (384, 1536, 8192, 1, 0),
    (384, 384, 8192, 1, 0), (8192, 96, 384), (8, 4096, 4096), (2, 4096, 4096), (1, 4096, 4096)))
SMALL = (GemmShape(1, 40, 40, 40),)


def measure(ours: Ours, small: bool) -> list[dict]:
    """Microseconds of a product, for each shape by each way, the chosen one named."""
    return [of_shape(ours, p, 2 if small else 60) for p in (SMALL if small else SHAPES)]


def of_shape(ours: Ours, p: GemmShape, turn_ms: float) -> dict:
    device_info = ours.host.device_info
    simple = gemm.canonicalize(p)
    chosen = gemm.select_algorithm(simple, device_info)
    ways = dict.fromkeys([chosen, PerElementGemm(), *gemm.tile_candidates(simple, device_info)])
    found = {name(way): timed(ours, p, way, turn_ms) for way in ways}
    return {"shape": [p.m, p.n, p.k, p.transpose_a, p.transpose_b], "chosen": name(chosen),
            "microseconds": found}


def timed(ours: Ours, p: GemmShape, way, turn_ms: float) -> float:
    generator = np.random.default_rng(0)
    a_shape, b_shape = (p.k, p.m) if p.transpose_a else (p.m, p.k), (p.k, p.n)
    sides = [tf.constant(generator.random(a_shape, np.float32)) for _ in range(COUNT)]
    b = tf.constant(generator.random(b_shape, np.float32))

    @tf.function
    def products(b, *sides):
        return [tf.matmul(a, b, transpose_a=bool(p.transpose_a)) for a in sides]

    with patch.object(gemm, "select_algorithm", lambda *_: way):
        products(b, *sides)
    took = per_call(lambda: products(b, *sides), ours.wait, turn_ms)
    gc.collect()
    return took / COUNT


def per_call(call: Callable, wait: Callable, turn_ms: float, turns: int = 5) -> float:
    """Microseconds, the median of some turns; a turn ends when the device has done everything."""
    def turn(calls: int) -> float:
        wait()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        return 1000 * (time.perf_counter() - start) / calls

    calls = steps_for(turn_ms, turn(3), most=10_000)
    return 1000 * median(turn(calls) for _ in range(turns))


def name(way) -> str:
    if isinstance(way, PerElementGemm):
        return "elements"
    kind = f"tiles of {way.tile.side}" if isinstance(way, TiledGemm) else "vectors"
    return f"{kind}, k in {way.split_k}" if way.split_k > 1 else kind


def shown(found: list[dict]) -> str:
    """The chosen way beside the best one."""
    rows = []
    for each in found:
        m, n, k, *turned = each["shape"]
        best = min(each["microseconds"], key=each["microseconds"].get)
        chosen, least = (each["microseconds"][way] for way in (each["chosen"], best))
        rows.append([f"{m} x {n} x {k}{' TN' if turned[0] else ''}", each["chosen"],
                     significant(chosen), best, significant(least), f"{least / chosen:.0%}"])
    return table(["product", "chosen", "µs", "best", "µs", "of the best"], rows)
