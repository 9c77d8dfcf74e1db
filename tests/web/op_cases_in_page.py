"""Evaluates every op case in a page: run this script with `tensorbrook run --page`.

Copies of the op cases and of case_evaluation.py must be in its folder. It writes its results to
results.json. With the argument `few` it evaluates the first and the last shapes of a case only.
"""
import json
import sys
import time
from pathlib import Path

import tensorbrook as tf
from op_cases import CASES
from case_evaluation import derivatives, in_mode, inputs, is_differentiable, results


def to_json(tensors) -> list:
    return [[t.dtype.name, list(t.shape), t.tolist()] for t in tensors]


def values(name: str) -> list:
    """[variant, dtype, results] of each eager call."""
    case = CASES[name]
    last = len(case.shapes) - 1
    calls = [(0, kind) for kind in case.kinds] + [(last, case.kinds[0])] * (last > 0) if FEW else \
        [(variant, kind) for variant in range(last + 1) for kind in case.kinds]
    return [[variant, kind, to_json(results(case.function, inputs(case, variant, kind)))]
            for variant, kind in calls]


def derivatives_of(name: str) -> list:
    """[variant, results, gradients, second derivatives] of each call inside a tf.function."""
    case, computed = CASES[name], []
    shapes = case.shapes[:1] if FEW else case.shapes
    for variant in range(len(shapes) if is_differentiable(name) else 0):
        tensors = in_mode("function", derivatives, case.function)(*inputs(case, variant))
        computed.append([variant, *map(to_json, tensors)])
    return computed


FEW = sys.argv[1:] == ["few"]            # for a software adapter, which is slow
begin = time.time()
output = {name: {"values": values(name), "derivatives": derivatives_of(name)} for name in CASES}
output["about"] = {"backend": tf.config.get_backend(), "threads": tf.config.get_threads(),
                   "seconds": round(time.time() - begin, 1)}
Path("results.json").write_text(json.dumps(output), encoding="utf-8")
print(output["about"])
