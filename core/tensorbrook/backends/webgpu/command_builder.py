"""Command generation: lower a Plan to the dispatches, copies and buffer bindings of a program.

Bindings are byte ranges of the arena or of a slot. An output that updates an input is stored in the
input's slot. Within one dispatch, WebGPU allows a buffer to be bound either as read-only or as
read-write, and two bindings must not overlap if one of them is written. Therefore two names of the
same byte range share one binding, and a buffer that is also written is bound as `read_write` for
its reads too.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ...base.errors import ResourceExhaustedError
from ...ir import (Atom, Kernel, KernelCall, LoopKernel, Plan, ScanKernel, ScanSlice,
                   ScheduledKernel, Var, align_up)
from ...ir.kernel_signature import kernel_signature
from .buffer_pool import size_class
from .compiled_program import (TIMESTAMP_BYTES, Binding, Commands, CompiledProgram, Copy,
                               Dispatch)
from .device_info import DeviceInfo
from .kernels import KERNELS
from .loop_codegen import loop_dispatches
from .shader_dispatch import ShaderDispatch, TemporaryBuffer

DECLARATION = re.compile(
    r"^@group\(0\) @binding\(\d+\) var<storage, (read|read_write)> (\w+): ([^;]+);$", re.M)

ARENA = 0
MIN_BINDING_BYTES = 16               # one vec4<f32>


@dataclass(frozen=True)
class BufferOffset:
    """A location: the index of a buffer (as in Binding) and a byte offset."""

    buffer: int
    offset: int


def compile_plan(plan: Plan, device_info: DeviceInfo, timestamps: bool = False) -> CompiledProgram:
    """Compile a plan for a device; with `timestamps`, the program records the time before and after
    each dispatch."""
    builder = _CommandBuilder(plan, device_info)
    builder.add_steps(plan.steps)
    builder.check_arena_size()
    constants = tuple((c.spec.dtype.name, bytes(c.value)) for c in plan.constants)
    outputs = tuple((o.spec.dtype.name, o.spec.count) for o in plan.outputs)
    timestamp_buffer_bytes = 2 * TIMESTAMP_BYTES * len(builder.kernel_paths) if timestamps else 0
    commands = Commands(tuple(builder.shaders), tuple(builder.shader_names), tuple(builder.steps),
                        timestamp_buffer_bytes)
    written_slots = commands.written_slots(len(plan.inputs) + len(constants) + len(outputs))
    return CompiledProgram(
        commands.to_bytes(), constants, len(plan.inputs), outputs, dict(plan.input_output_aliases),
        written_slots, builder.arena_size, builder.staging_bytes, builder.bytes_moved,
        tuple(builder.kernel_paths), timestamp_buffer_bytes)


class _CommandBuilder:
    """The commands of a program under construction."""

    def __init__(self, plan: Plan, device_info: DeviceInfo):
        self.plan, self.device_info = plan, device_info
        self.shaders: dict[str, int] = {}              # code -> index
        self.shader_names: list[str] = []              # names of the kernels that first used them
        self.steps: list[Dispatch | Copy] = []
        self.kernel_paths: list[tuple[int, ...]] = []  # of each dispatch
        self.path: tuple[int, ...] = ()                # of the current kernel
        # End of the plan's arena, and within scans of the staged slices: temporaries begin there.
        self.temporaries_begin = align_up(plan.arena_size, plan.target.buffer_alignment)
        self.arena_size, self.bytes_moved = plan.arena_size, 0
        self.staging_bytes = self.staging_in_use = 0   # maximum and current use
        self.staging_slot = 1 + plan.slots - plan.rotating_slots
        # Locations of values that differ between iterations of a scan, in the current iteration.
        self.moving: dict[Var, BufferOffset] = {}
        self.kernel_dispatches: dict[int, list[ShaderDispatch]] = {}     # by the kernel's id
        # By the key of a signature: the dispatches and buffers of the first kernel that has it.
        self.lowered: dict[tuple, tuple[list[ShaderDispatch], tuple[Atom, ...]]] = {}
        # By the id of a ShaderDispatch, which `kernel_dispatches` holds.
        self.declared: dict[int, tuple[list[tuple[str, str, str]], dict[str, int]]] = {}
        self.bound: dict[tuple, Dispatch] = {}           # by the locations too
        self.bound_code: dict[tuple, str] = {}

    def add_steps(self, steps: tuple[ScheduledKernel, ...], outer_path: tuple[int, ...] = ()):
        for n, step in enumerate(steps):
            self.path = *outer_path, n
            if isinstance(step.kernel, ScanKernel):
                self.unroll_scan(step)
            else:
                self.add_kernel(step.kernel)

    def add_kernel(self, k: LoopKernel | KernelCall):
        if id(k) not in self.kernel_dispatches:
            self.kernel_dispatches[id(k)] = self.lower(k)
            self.check_binding_size(k, self.kernel_dispatches[id(k)])
        dispatches = self.kernel_dispatches[id(k)]
        temporaries = self.place_temporaries(dispatches)
        for dispatch in dispatches:
            self.add_dispatch(dispatch, temporaries)
        self.shader_names += [_name(k)] * (len(self.shaders) - len(self.shader_names))

    def lower(self, k: LoopKernel | KernelCall) -> list[ShaderDispatch]:
        """The dispatches of a kernel. Kernels with equal signatures share the generated code."""
        signature = kernel_signature(k)
        if signature.key not in self.lowered:
            generate = loop_dispatches if isinstance(k, LoopKernel) else KERNELS[k.kernel]
            self.lowered[signature.key] = generate(k, self.device_info), signature.buffers
        dispatches, buffers = self.lowered[signature.key]
        own = dict(zip(buffers, signature.buffers))
        return [replace(d, buffers={name: b if isinstance(b, TemporaryBuffer) else own[b]
                                    for name, b in d.buffers.items()}) for d in dispatches]

    def check_binding_size(self, k: LoopKernel | KernelCall, dispatches: list[ShaderDispatch]):
        """Raise if a buffer of the kernel is larger than the device can bind."""
        size = max((self.size(b) for d in dispatches for b in d.buffers.values()), default=0)
        if size > self.device_info.binding_bytes:
            raise ResourceExhaustedError(
                k.eqns[-1].prim.name if k.eqns else k.kernel,
                f"it needs {size / 2**20:.1f} MB in one buffer and the GPU binds at most "
                f"{self.device_info.binding_bytes / 2**20:.0f} MB",
                'use a smaller batch or model, or tf.device("/CPU:0")')

    def check_arena_size(self):
        """Raise if the arena is larger than the device's largest buffer."""
        size, limit = size_class(self.arena_size), self.device_info.buffer_bytes
        if size > limit:
            raise ResourceExhaustedError(
                "tf.function", f"it needs an arena of {size / 2**20:.1f} MB and the GPU has "
                f"buffers of at most {limit / 2**20:.0f} MB",
                'use a smaller batch or model, or tf.device("/CPU:0")')

    def place_temporaries(self, dispatches: list[ShaderDispatch]
                          ) -> dict[TemporaryBuffer, BufferOffset]:
        """Assign locations behind the arena to the temporary buffers of a kernel."""
        locations: dict[TemporaryBuffer, BufferOffset] = {}
        end = self.temporaries_begin
        for buffer in (b for d in dispatches for b in d.buffers.values()):
            if isinstance(buffer, TemporaryBuffer) and buffer not in locations:
                locations[buffer] = BufferOffset(ARENA, end)
                end += align_up(buffer.size_bytes, self.plan.target.buffer_alignment)
        self.arena_size = max(self.arena_size, end if locations else 0)
        return locations

    # ── locations and bindings ──

    def location(self, atom: Atom) -> BufferOffset:
        if atom in self.moving:
            return self.moving[atom]
        location = self.plan.buffer_locations[atom]
        if location.space == "arena":
            return BufferOffset(ARENA, location.offset)
        slot = location.offset
        output = slot - len(self.plan.inputs) - len(self.plan.constants)
        return BufferOffset(1 + self.plan.input_output_aliases.get(output, slot), 0)

    def add_dispatch(self, dispatch: ShaderDispatch,
                     temporaries: Mapping[TemporaryBuffer, BufferOffset]):
        """Bind the buffers of a dispatch: names of the same location and type share a binding."""
        locations = {name: temporaries[b] if isinstance(b, TemporaryBuffer) else self.location(b)
                     for name, b in dispatch.buffers.items()}
        if id(dispatch) not in self.declared:
            self.declared[id(dispatch)] = self.declare(dispatch)
        declarations, sizes = self.declared[id(dispatch)]
        key = id(dispatch), *locations.values()
        if key not in self.bound:                # iterations of a scan repeat many locations
            self.bound[key] = self.bind(dispatch, locations, declarations, sizes)
        self.steps.append(self.bound[key])
        self.kernel_paths.append(self.path)
        self.bytes_moved += sum(sizes.values())

    def declare(self, dispatch: ShaderDispatch
                ) -> tuple[list[tuple[str, str, str]], dict[str, int]]:
        """Return the (access, name, element type) of each buffer that the code of a dispatch
        declares, and the bytes of each by name."""
        declared = DECLARATION.findall(dispatch.code)
        assert {name for _, name, _ in declared} == set(dispatch.buffers), \
            "a shader declares its buffers"
        return declared, {name: self.size(b) for name, b in dispatch.buffers.items()}

    def bind(self, dispatch: ShaderDispatch, locations: Mapping[str, BufferOffset],
             declared: list[tuple[str, str, str]], buffer_sizes: Mapping[str, int]) -> Dispatch:
        written = {locations[name].buffer for access, name, _ in declared
                   if access == "read_write"}
        first_names: dict[tuple, str] = {}
        representatives: dict[str, str] = {}
        for _, name, element_type in declared:
            representatives[name] = first_names.setdefault((locations[name], element_type), name)
        sizes: dict[str, int] = {}       # by representative; a slice may begin where its whole does
        for name, representative in representatives.items():
            sizes[representative] = max(sizes.get(representative, 0), buffer_sizes[name])
        bindings = tuple(Binding(locations[name].buffer, locations[name].offset, size,
                                 locations[name].buffer in written)
                         for name, size in sizes.items())
        self.assert_disjoint(bindings, dispatch)
        writes = tuple(b.writes for b in bindings)
        key = dispatch.code, tuple(representatives.items()), writes
        if key not in self.bound_code:
            self.bound_code[key] = _number_bindings(dispatch.code, representatives,
                                                    dict(zip(sizes, writes)))
        shader = self.shaders.setdefault(self.bound_code[key], len(self.shaders))
        return Dispatch(shader, bindings, dispatch.groups)

    def size(self, buffer: Atom | TemporaryBuffer) -> int:
        size = buffer.size_bytes if isinstance(buffer, TemporaryBuffer) else \
            self.plan.target.bytes_of(buffer.spec)
        return align_up(max(size, 1), MIN_BINDING_BYTES)

    @staticmethod
    def assert_disjoint(bindings: tuple[Binding, ...], dispatch: ShaderDispatch):
        for i, a in enumerate(bindings):
            for b in bindings[:i]:
                disjoint = a.buffer != b.buffer or not a.writes \
                    or a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
                assert disjoint, f"{a} and {b} overlap in\n{dispatch.code}"

    # ── scans ──

    def unroll_scan(self, step: ScheduledKernel):
        """Add the steps of every iteration; carries and slices have locations per iteration."""
        k, path, outer_moving = step.kernel, self.path, dict(self.moving)
        staging_in_use, temporaries_begin = self.staging_in_use, self.temporaries_begin
        staged = {p.element: self.staging_location(p) for p in k.slices
                  if self.is_misaligned(p) or self.overlaps_own_source(p, k)}
        for i in range(k.count):
            for c in k.carries:
                targets = [self.location(c.final), self.location(c.spare)]
                remaining = k.count - 1 - i            # the last iteration writes to `final`
                self.moving[c.input] = self.location(c.init) if i == 0 \
                    else targets[(remaining + 1) % 2]
                self.moving[c.output] = targets[remaining % 2]
            slices = {p.element: self.slice_location(p, k.count - 1 - i if k.reverse else i)
                      for p in k.slices}
            self.moving |= slices | staged
            self.add_copies(slices, staged, [v for v in staged if v not in k.written])
            self.add_steps(step.body, path)
            self.add_copies(staged, slices, [v for v in staged if v in k.written])
        self.moving = outer_moving
        self.staging_in_use, self.temporaries_begin = staging_in_use, temporaries_begin

    def slice_location(self, p: ScanSlice, n: int) -> BufferOffset:
        stacked = self.location(p.stacked)
        size = self.plan.target.bytes_of(p.element.spec)
        return replace(stacked, offset=stacked.offset + n * size)

    def is_misaligned(self, p: ScanSlice) -> bool:
        """Whether slices begin at offsets that no binding may have."""
        return self.plan.target.bytes_of(p.element.spec) % self.plan.target.buffer_alignment != 0

    def overlaps_own_source(self, p: ScanSlice, k: ScanKernel) -> bool:
        """Whether a kernel reads both a slice and its stacked array from a buffer that the kernel
        may also write, where overlapping bindings are not allowed."""
        return self.location(p.stacked).buffer in (ARENA, self.staging_slot) and \
            _reads_whole_and_slice(k.kernels, p.stacked, {p.element})

    def staging_location(self, p: ScanSlice) -> BufferOffset:
        """Reserve space for a slice in the staging buffer, which is the slot after all others. A
        slice of a value that is itself staged goes to the arena instead, because WebGPU copies no
        buffer to itself."""
        size = align_up(self.size(p.element), self.plan.target.buffer_alignment)
        if self.location(p.stacked).buffer == self.staging_slot:
            offset = self.temporaries_begin
            self.temporaries_begin += size
            self.arena_size = max(self.arena_size, self.temporaries_begin)
            return BufferOffset(ARENA, offset)
        offset = self.staging_in_use
        self.staging_in_use += size
        self.staging_bytes = max(self.staging_bytes, self.staging_in_use)
        return BufferOffset(self.staging_slot, offset)

    def add_copies(self, sources: Mapping[Var, BufferOffset], targets: Mapping[Var, BufferOffset],
                   elements: list[Var]):
        for v in elements:
            size = self.plan.target.bytes_of(v.spec)
            source, target = (Binding(location.buffer, location.offset, size, True)
                              for location in (sources[v], targets[v]))
            self.steps.append(Copy(source, target))
            self.bytes_moved += 2 * size


def _reads_whole_and_slice(kernels: Iterable[Kernel], whole: Atom, slices: set[Atom]) -> bool:
    """Whether one of the kernels reads `whole` and one of its slices, or a slice of a slice."""
    for k in kernels:
        if isinstance(k, ScanKernel):
            inner = slices | {p.element for p in k.slices if p.stacked in slices}
            if _reads_whole_and_slice(k.kernels, whole, inner):
                return True
        elif whole in k.reads and not slices.isdisjoint(k.reads):
            return True
    return False


def _name(k: LoopKernel | KernelCall) -> str:
    return k.kernel if isinstance(k, KernelCall) else \
        ", ".join(dict.fromkeys(e.prim.name for e in k.eqns))


def _number_bindings(code: str, representatives: Mapping[str, str],
                     writes: Mapping[str, bool]) -> str:
    """Number the bindings of a module in order, and replace names by their representatives."""
    numbers = {name: n for n, name in enumerate(writes)}

    def declaration(match: re.Match) -> str:
        name, element_type = match[2], match[3]
        if name not in numbers:
            return ""
        access = "read_write" if writes[name] else "read"
        return f"@group(0) @binding({numbers[name]}) var<storage, {access}> {name}: {element_type};"

    code = DECLARATION.sub(declaration, code)
    for name, representative in representatives.items():
        if name != representative:
            # Only indexed names: members and the library's parameters may have the same name.
            code = re.sub(rf"(?<![.\w]){name}(?=\[)", representative, code)
    return code
