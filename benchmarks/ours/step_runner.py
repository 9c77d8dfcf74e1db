"""Prepared steps, kept between two scripts of the page, and timed loops over them."""

import json
import time
from math import prod
from pathlib import Path

import tensorbrook as tf

from . import (
    conv_and_pool, gather_and_sort, gemm, kernels, memory_bound, mobilenet, recurrent, resnet,
    training, transformers,
)

FAMILIES = {
    "gemm": gemm.step,
    "elementwise": memory_bound.elementwise, "norm": memory_bound.norm,
    "cross_entropy": memory_bound.cross_entropy, "adamw": memory_bound.adamw,
    "convolution": conv_and_pool.convolution, "pool": conv_and_pool.pool,
    "embedding": gather_and_sort.embedding, "scatter_add": gather_and_sort.scatter_add,
    "sort": gather_and_sort.sort, "top_k": gather_and_sort.top_k,
    "mlp": training.mlp, "lenet": training.lenet, "resnet": resnet.resnet,
    "lstm": recurrent.lstm, "gpt": transformers.gpt,
    "mobilenet": mobilenet.mobilenet, "bert": transformers.bert,
}
STEPS = {}          # name -> the function of a step, and its arguments


def prepare():
    """Prepare the workload of request.json with the data of arrays.bin; returns its samples."""
    request = json.loads(Path("request.json").read_text())
    arrays = read(request["arrays"], Path("arrays.bin").read_bytes())
    family = FAMILIES[request["family"]]
    step, arguments, check = family(arrays, request["api"], **request["options"])
    STEPS[f"{request['name']} {request['api']}"] = step, arguments
    return check()


def read(specs, content):
    """Tensors from the concatenated bytes of the arrays: floats, or labels below `classes`."""
    tensors, view = {}, memoryview(content)
    for name, spec in specs.items():
        format = "i" if "classes" in spec else "f"
        size = 4 * prod(spec["shape"])
        tensors[name] = tf.constant(view[:size].cast(format, spec["shape"]))
        view = view[size:]
    return tensors


def run_steps(name, steps):
    """Milliseconds of a user's loop over this many steps."""
    step, arguments = STEPS[name]
    start = time.perf_counter()
    for _ in range(steps):
        step(*arguments)
    return 1000 * (time.perf_counter() - start)


def kernel_times(name, repeats):
    """The time of each kernel of a prepared step, run in isolation."""
    step, arguments = STEPS[name]
    return kernels.times(step.get_concrete_function(*arguments), repeats)


def memory(name):
    """Bytes of a prepared step's arena, and the peak of the live bytes in it."""
    step, arguments = STEPS[name]
    plan = step.get_concrete_function(*arguments).plan
    return plan.arena_size, plan.peak_live_bytes


def drop(name):
    del STEPS[name]
