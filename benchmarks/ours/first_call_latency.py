"""How long the first call of a step takes: tracing, compiling, loading, and the weights' making."""

import time

import tensorbrook as tf

from .step_runner import FAMILIES


def measure(requests):
    """Milliseconds until the program of each workload's step is loaded."""
    return {request["name"]: once(request) for request in requests}


def once(request):
    arrays = {name: made(**spec) for name, spec in request["arrays"].items()}
    start = time.perf_counter()
    step, arguments, _ = FAMILIES[request["family"]](arrays, "tf", **request["options"])
    step.get_concrete_function(*arguments).program  # noqa: B018, as it compiles when asked for
    return 1000 * (time.perf_counter() - start)


def made(shape, scale=1.0, offset=0.0, classes=None):
    """An array as page/workload.ts describes it."""
    if classes is not None:
        return tf.random.uniform(shape, 0, classes, tf.int32)
    return tf.random.uniform(shape, offset - scale, offset + scale)
