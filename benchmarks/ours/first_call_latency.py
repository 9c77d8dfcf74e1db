"""First-call latency of a step: making the weights, tracing, compiling, loading."""

import time

import tensorbrook as tf

from .step_runner import FAMILIES


def measure(requests):
    """Milliseconds until the program of a step is loaded, for each workload."""
    return {request["name"]: measure_once(request) for request in requests}


def measure_once(request):
    arrays = {name: random_tensor(**spec) for name, spec in request["arrays"].items()}
    start = time.perf_counter()
    step, arguments, _ = FAMILIES[request["family"]](arrays, "tf", **request["options"])
    step.get_concrete_function(*arguments).program  # noqa: B018, the property compiles on access
    return 1000 * (time.perf_counter() - start)


def random_tensor(shape, scale=1.0, offset=0.0, classes=None):
    """A random tensor of an `ArraySpec` of page/workload.ts."""
    if classes is not None:
        return tf.random.uniform(shape, 0, classes, tf.int32)
    return tf.random.uniform(shape, offset - scale, offset + scale)
