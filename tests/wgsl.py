"""Runs plans on the device of backend webgpu, buffers as they are."""
from dataclasses import replace

import numpy as np

from tensorbrook import backends
from tensorbrook.backends.webgpu import Buffer, WebGPU, limits_of, widened
from tensorbrook.backends.webgpu.facts import Facts
from tensorbrook.backends.webgpu.program import image_of
from tensorbrook.ir import Plan


def gpu() -> WebGPU:
    return backends.backend("webgpu")


def shaders(plan: Plan) -> tuple[str, ...]:
    """The modules of a plan for a device that can do just what every one can."""
    facts = Facts()
    return image_of(replace(plan, limits=limits_of(facts)), facts).shaders


def run_wgsl(plan: Plan, inputs, outputs, facts: Facts | None = None) -> list[np.ndarray]:
    """What a plan leaves in its outputs; `outputs` are the arrays they begin as."""
    backend = gpu()
    facts = facts or backend.host.facts
    image = image_of(replace(plan, limits=limits_of(facts)), facts)
    arrays = [*inputs, *outputs]
    buffers = [_filled(backend, array) for array in arrays]
    if image.steps:
        program = backend.host.load(image.to_bytes())
        numbers = [b.number for b in buffers]
        backend.host.run(program, backend.arena_of(image.arena_size), *numbers)
        backend.host.unload(program)
    found = [np.frombuffer(b.read(), a.dtype).reshape(a.shape) for a, b in zip(arrays, buffers)]
    for before, after in zip(inputs, found):
        assert before.tobytes() == after.tobytes(), "an input was written"
    return found[len(inputs):]


def _filled(backend: WebGPU, array: np.ndarray) -> Buffer:
    buffer = Buffer(backend, array.dtype.name, array.size)
    if array.size:
        backend.host.write(buffer.number, widened(np.ascontiguousarray(array), array.dtype.name))
    return buffer
