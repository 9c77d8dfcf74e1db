"""Every line of the table, as a page computes it: run this with `tensorbrook run --page`.

It stands beside copies of the table and of measures.py, and writes what it found to results.json.
The slopes are those of all shapes of a line, or with the word `first` of its first one.
"""
import json
import sys
import time
from pathlib import Path

import tensorbrook as tf
from op_cases import CASES
from case_evaluation import derivatives, differentiable, in_mode, inputs, results


def told(tensors) -> list:
    return [[t.dtype.name, list(t.shape), t.tolist()] for t in tensors]


def values(name: str) -> list:
    """[variant, dtype, results] of each call, operation by operation."""
    case = CASES[name]
    last = len(case.shapes) - 1
    calls = [(0, kind) for kind in case.kinds] + [(last, case.kinds[0])] * (last > 0) if FEW else \
        [(variant, kind) for variant in range(last + 1) for kind in case.kinds]
    return [[variant, kind, told(results(case.ours, inputs(case, variant, kind)))]
            for variant, kind in calls]


def slopes(name: str) -> list:
    """[variant, results, gradients, curvatures] of each call, inside a tf.function."""
    case, found = CASES[name], []
    shapes = case.shapes[:1] if FEW else case.shapes
    for variant in range(len(shapes) if differentiable(name) else 0):
        measured = in_mode("function", derivatives, case.ours)(*inputs(case, variant))
        found.append([variant, *map(told, measured)])
    return found


FEW = sys.argv[1:] == ["few"]            # the first shapes and the last: for a GPU in software
begin = time.time()
found = {name: {"values": values(name), "slopes": slopes(name)} for name in CASES}
found["about"] = {"backend": tf.config.get_backend(), "threads": tf.config.get_threads(),
                  "seconds": round(time.time() - begin, 1)}
Path("results.json").write_text(json.dumps(found), encoding="utf-8")
print(found["about"])
