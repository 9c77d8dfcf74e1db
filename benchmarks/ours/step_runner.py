"""Keeps prepared steps between two scripts of the page, and times loops of them."""

import json
import time
from math import prod
from pathlib import Path

import tensorbrook as tf

from . import (
    gemm, kernels, gather_and_sort, mobilenet, recurrent, resnet, memory_bound, training, transformers, conv_and_pool,
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
STEPS = {}          # name -> the function to call again and again, and its arguments


def prepare():
    """Make the workload of request.json ready with the data of arrays.bin; returns its check."""
    request = json.loads(Path("request.json").read_text())
    arrays = read(request["arrays"], Path("arrays.bin").read_bytes())
    family = FAMILIES[request["family"]]
    step, arguments, check = family(arrays, request["flavour"], **request["options"])
    STEPS[f"{request['name']} {request['flavour']}"] = step, arguments
    return check()


def read(specs, content):
    """Tensors from the bytes of one array after the other: floats, or labels below `classes`."""
    tensors, view = {}, memoryview(content)
    for name, spec in specs.items():
        format = "i" if "classes" in spec else "f"
        size = 4 * prod(spec["shape"])
        tensors[name] = tf.constant(view[:size].cast(format, spec["shape"]))
        view = view[size:]
    return tensors


def turn(name, steps):
    """Milliseconds of a user's loop of this many steps."""
    step, arguments = STEPS[name]
    start = time.perf_counter()
    for _ in range(steps):
        step(*arguments)
    return 1000 * (time.perf_counter() - start)


def kernel_times(name, repeats):
    """What each kernel of a prepared step takes, run alone."""
    step, arguments = STEPS[name]
    return kernels.times(step.get_concrete_function(*arguments), repeats)


def memory(name):
    """Bytes of a prepared step's arena, and the most of them that are in use at once."""
    step, arguments = STEPS[name]
    plan = step.get_concrete_function(*arguments).plan
    return plan.arena_size, plan.peak_live_bytes


def drop(name):
    del STEPS[name]
