"""Runs kernels on the test device's WebGPU, with poisoned buffers that end in guard bytes."""
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
POISON = 0xFF            # as f32 a NaN, so that a read of uninitialized memory shows in the result


def device_info(**changes) -> DeviceInfo:
    """Return the information of the test device with some fields replaced."""
    return replace(_host().device_info, **changes)


def run(kernel: str, inputs, outputs, *params, device_info: DeviceInfo | None = None,
        operand_dtypes=(), transform=str) -> list[np.ndarray]:
    """Return the results of a kernel; `outputs` has the (shape, dtype) of each. Asserts that the
    kernel writes no input and nothing outside of its results. `transform` maps each shader's source
    to the source that runs."""
    args = [Var(TensorSpec(x.shape, dtypes.as_dtype(x.dtype))) for x in inputs]
    outs = [Var(TensorSpec(shape, dtypes.as_dtype(np.dtype(dtype)))) for shape, dtype in outputs]
    call = KernelCall(kernel, tuple(args), tuple(outs), params, 1, (),
                      operand_dtypes=tuple(operand_dtypes))
    compiled = compile_plan(single_kernel_plan(call), device_info or _host().device_info)
    poison = [bytes([POISON]) * (-(-out.spec.count * device_bytes(out.spec.dtype.name) // 4) * 4)
              for out in outs]
    results = _run(_transformed(compiled, transform), [_on_device(x) for x in inputs], poison)
    return [_on_host(data, out.spec) for data, out in zip(results, outs)]


def run_plan(plan: Plan, inputs, outputs, device_info: DeviceInfo | None = None,
             transform=str) -> list[np.ndarray]:
    """Return the outputs of a plan; `outputs` are their initial contents."""
    device_info = device_info or _host().device_info
    compiled = compile_plan(replace(plan, target=target_info(device_info)), device_info)
    results = _run(_transformed(compiled, transform), [_on_device(x) for x in inputs],
                   [_on_device(x) for x in outputs])
    specs = [TensorSpec(x.shape, dtypes.as_dtype(x.dtype)) for x in outputs]
    return [_on_host(data, spec) for data, spec in zip(results, specs)]


def shaders_of(plan: Plan, **device_info) -> tuple[str, ...]:
    """Return the shaders of a plan for a device with the minimum limits and the given fields."""
    info = DeviceInfo(**device_info)
    return compile_plan(replace(plan, target=target_info(info)), info).shaders


def _transformed(compiled: CompiledProgram, transform) -> CompiledProgram:
    commands = Commands.from_bytes(compiled.commands)
    commands = replace(commands, shaders=tuple(map(transform, commands.shaders)))
    return replace(compiled, commands=commands.to_bytes())


def single_kernel_plan(call: KernelCall) -> Plan:
    """Return a plan that runs only `call`: its arguments are inputs, its results are outputs."""
    args = tuple(dict.fromkeys(call.args))
    locations = {a: BufferLocation("slot", i) for i, a in enumerate(args + call.outs)}
    return Plan(args, (), call.outs, {}, locations, (ScheduledKernel(call, False, False),), 0,
                Graph(list(args), [], list(call.outs)), target=target_info(_host().device_info))


def _host() -> Host:
    return backends.get_backend("webgpu").host


def _run(compiled: CompiledProgram, inputs: list[bytes], outputs: list[bytes]) -> list[bytes]:
    host, guard = _host(), bytes([POISON]) * GUARD
    contents = [data + guard for data in (bytes(compiled.arena_size), *inputs, *outputs)]
    contents[0] = bytes([POISON]) * len(contents[0])
    buffers = [host.new(-(-len(data) // 16) * 16) for data in contents]
    for buffer, data in zip(buffers, contents):
        host.write(buffer, data)
    if compiled.steps:
        program = host.load(compiled)
        host.run(program, buffers)
        host.unload(program)
    after = host.read_many([(buffer, len(data)) for buffer, data in zip(buffers, contents)])
    for buffer in buffers:
        host.free(buffer)
    assert all(data.endswith(guard) for data in after), "a kernel wrote out of bounds"
    assert after[1:1 + len(inputs)] == contents[1:1 + len(inputs)], "an input was written"
    return [data[:-GUARD] for data in after[1 + len(inputs):]]


def _on_device(x: np.ndarray) -> bytes:
    return bytes(to_device_layout(np.ascontiguousarray(x).tobytes(), x.dtype.name))


def _on_host(data: bytes, spec: TensorSpec) -> np.ndarray:
    name = spec.dtype.name
    if name in ("bool", "uint8"):
        words = np.frombuffer(data, "u4")
        assert (words < (2 if name == "bool" else 256)).all(), f"{words.max()} is not a {name}"
        return words.astype(name).reshape(spec.shape)
    return np.frombuffer(data, name)[:spec.count].reshape(spec.shape)
