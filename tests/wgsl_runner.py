"""Runs single kernels on this machine's WebGPU: buffers begin as poison and end in guard bytes."""
from dataclasses import replace

import numpy as np

from tensorbrook import backends
from tensorbrook.backends.webgpu import target_info, to_device_layout
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.backends.webgpu.host import Host
from tensorbrook.backends.webgpu.element_layout import device_bytes
from tensorbrook.backends.webgpu.compiled_program import Commands, CompiledProgram
from tensorbrook.backends.webgpu.command_builder import compile_plan
from tensorbrook.base import dtypes
from tensorbrook.ir import KernelCall, Graph, BufferLocation, Plan, TensorSpec, ScheduledKernel, Var

GUARD = 64               # bytes
POISON = 0xFF            # as f32 a NaN: what is read before it is written shows in the result


def device_info(**changes) -> DeviceInfo:
    """Those of this machine's device, but for some."""
    return replace(_host().device_info, **changes)


def run(function: str, inputs, outputs, *numbers, device_info: DeviceInfo | None = None,
        loads=(), change=str) -> list[np.ndarray]:
    """What a kernel leaves in its results, (shape, dtype) each. No input may change. Each shader is
    what `change` makes of its text."""
    args = [Var(TensorSpec(x.shape, dtypes.as_dtype(x.dtype))) for x in inputs]
    outs = [Var(TensorSpec(shape, dtypes.as_dtype(np.dtype(dtype)))) for shape, dtype in outputs]
    call = KernelCall(function, tuple(args), tuple(outs), numbers, 1, (),
                      operand_dtypes=tuple(loads))
    image = compile_plan(one_call(call), device_info or _host().device_info)
    poison = [bytes([POISON]) * (-(-out.spec.count * device_bytes(out.spec.dtype.name) // 4) * 4)
              for out in outs]
    found = _run(_changed(image, change), [_on_device(x) for x in inputs], poison)
    return [_on_host(data, out.spec) for data, out in zip(found, outs)]


def run_plan(plan: Plan, inputs, outputs, device_info: DeviceInfo | None = None,
             change=str) -> list[np.ndarray]:
    """What a plan leaves in its outputs; `outputs` are the arrays that these begin as."""
    device_info = device_info or _host().device_info
    image = compile_plan(replace(plan, target=target_info(device_info)), device_info)
    found = _run(_changed(image, change), [_on_device(x) for x in inputs],
                 [_on_device(x) for x in outputs])
    specs = [TensorSpec(x.shape, dtypes.as_dtype(x.dtype)) for x in outputs]
    return [_on_host(data, spec) for data, spec in zip(found, specs)]


def code_of(plan: Plan, **more) -> tuple[str, ...]:
    """The modules of a plan for a device that can do just what every one can, and what is told."""
    device_info = DeviceInfo(**more)
    return compile_plan(replace(plan, target=target_info(device_info)), device_info).shaders


def _changed(image: CompiledProgram, change) -> CompiledProgram:
    commands = Commands.from_bytes(image.commands)
    commands = replace(commands, shaders=tuple(map(change, commands.shaders)))
    return replace(image, commands=commands.to_bytes())


def one_call(call: KernelCall) -> Plan:
    """The plan that runs `call` alone, its arguments as inputs and its results as outputs."""
    args = tuple(dict.fromkeys(call.args))
    places = {a: BufferLocation("slot", i) for i, a in enumerate(args + call.outs)}
    return Plan(args, (), call.outs, {}, places, (ScheduledKernel(call, False, False),), 0,
                Graph(list(args), [], list(call.outs)), target=target_info(_host().device_info))


def _host() -> Host:
    return backends.get_backend("webgpu").host


def _run(image, inputs: list[bytes], results: list[bytes]) -> list[bytes]:
    host, guard = _host(), bytes([POISON]) * GUARD
    contents = [data + guard for data in (bytes(image.arena_size), *inputs, *results)]
    contents[0] = bytes([POISON]) * len(contents[0])
    buffers = [host.new(-(-len(data) // 16) * 16) for data in contents]
    for buffer, data in zip(buffers, contents):
        host.write(buffer, data)
    if image.steps:
        program = host.load(image)
        host.run(program, buffers)
        host.unload(program)
    after = host.read_many([(buffer, len(data)) for buffer, data in zip(buffers, contents)])
    for buffer in buffers:
        host.free(buffer)
    assert all(data.endswith(guard) for data in after), "something wrote beyond a buffer"
    assert after[1:1 + len(inputs)] == contents[1:1 + len(inputs)], "an input was written"
    return [data[:-GUARD] for data in after[1 + len(inputs):]]


def _on_device(x: np.ndarray) -> bytes:
    return bytes(to_device_layout(np.ascontiguousarray(x).tobytes(), x.dtype.name))


def _on_host(data: bytes, spec: TensorSpec) -> np.ndarray:
    name = spec.dtype.name
    if name in ("bool", "uint8"):
        words = np.frombuffer(data, "u4")
        assert (words < (2 if name == "bool" else 256)).all(), f"no {name} holds {words.max()}"
        return words.astype(name).reshape(spec.shape)
    return np.frombuffer(data, name)[:spec.count].reshape(spec.shape)
