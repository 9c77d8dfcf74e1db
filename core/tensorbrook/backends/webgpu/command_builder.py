"""A Plan as an Image: each kernel's parts, and where in memory their buffers lie.

Bindings name bytes of the arena or of a slot. An output that updates an input lies in the input's
slot. Within one dispatch WebGPU wants a buffer bound either for reading alone or for writing too,
and two bindings of which one writes apart from each other: so two names of the same bytes become
one, and what is read from a buffer that is also written is bound as `read_write`.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ...base.errors import ResourceExhaustedError
from ...ir import Atom, KernelCall, Kernel, LoopKernel, Plan, ScanKernel, ScheduledKernel, Var, align_up
from .kernels import KERNELS
from .device_info import DeviceInfo
from .buffer_pool import size_class
from .compiled_program import STAMP, Binding, Commands, Copy, Dispatch, Image
from .loop_codegen import loop_dispatches as loop_parts
from .shader_dispatch import ShaderDispatch, TemporaryBuffer

DECLARATION = re.compile(
    r"^@group\(0\) @binding\(\d+\) var<storage, (read|read_write)> (\w+): ([^;]+);$", re.M)

ARENA = 0
SMALLEST_BINDING = 16                # bytes: one vec4<f32>


@dataclass(frozen=True)
class BufferOffset:
    """Where a buffer lies: the number of a binding's buffer, and the byte where it begins."""

    buffer: int
    offset: int


def image_of(plan: Plan, device_info: DeviceInfo, stamps: bool = False) -> Image:
    """The image of a plan, for a device of these device_info; with `stamps` it notes the time before and
    after each dispatch."""
    p = _CommandBuilder(plan, device_info)
    p.add_steps(plan.steps)
    p.check_arena_size()
    constants = tuple((c.spec.dtype.name, bytes(c.value)) for c in plan.constants)
    outputs = tuple((o.spec.dtype.name, o.spec.count) for o in plan.outputs)
    stamped = 2 * STAMP * len(p.kernels) if stamps else 0
    commands = Commands(tuple(p.shaders), tuple(p.names), tuple(p.steps), stamped)
    writes = commands.written(len(plan.inputs) + len(constants) + len(outputs))
    return Image(commands.to_bytes(), constants, len(plan.inputs), outputs, dict(plan.input_output_aliases),
                 writes, p.arena_size, p.staging, p.bytes_moved, tuple(p.kernels), stamped)


class _CommandBuilder:
    """The steps of a program while they are written."""

    def __init__(self, plan: Plan, device_info: DeviceInfo):
        self.plan, self.device_info = plan, device_info
        self.shaders: dict[str, int] = {}
        self.names: list[str] = []                     # of the kernels that shaders are first for
        self.steps: list[Dispatch | Copy] = []
        self.kernels: list[tuple[int, ...]] = []       # of each dispatch: its kernel's number
        self.number: tuple[int, ...] = ()              # that of the kernel that is placed
        self.scratch = align_up(plan.arena_size, plan.target.buffer_alignment)    # begins where others end
        self.arena_size, self.bytes_moved = plan.arena_size, 0
        self.staging = self.staged = 0                 # bytes: at most, and in use now
        self.staging_slot = 1 + plan.slots - plan.rotating_slots
        self.moving: dict[Var, BufferOffset] = {}              # where it lies in this turn of a Repeat
        self.parts: dict[int, list[ShaderDispatch]] = {}         # of kernels that turn
        self.texts: dict[tuple, tuple[str, tuple[int, ...]]] = {}

    def add_steps(self, steps: tuple[ScheduledKernel, ...], above: tuple[int, ...] = ()):
        for n, step in enumerate(steps):
            self.number = *above, n
            if isinstance(step.kernel, ScanKernel):
                self.unroll_scan(step)
            else:
                self.kernel(step.kernel)

    def kernel(self, k: LoopKernel | KernelCall):
        if id(k) not in self.parts:
            make = loop_parts if isinstance(k, LoopKernel) else KERNELS[k.kernel]
            self.parts[id(k)] = make(k, self.device_info)
            self.check_binding_size(k, self.parts[id(k)])
        at = self.place_temporaries(self.parts[id(k)])
        for part in self.parts[id(k)]:
            self.dispatch(part, at)
        self.names += [_name(k)] * (len(self.shaders) - len(self.names))

    def check_binding_size(self, k: LoopKernel | KernelCall, parts: list[ShaderDispatch]):
        """Refuse a kernel of which one buffer is more than the device can bind."""
        size = max((self.size(b) for part in parts for b in part.buffers.values()), default=0)
        if size > self.device_info.binding_bytes:
            raise ResourceExhaustedError(
                k.eqns[-1].prim.name if k.eqns else k.kernel,
                f"it needs {size / 2**20:.1f} MB in one piece and the GPU binds at most "
                f"{self.device_info.binding_bytes / 2**20:.0f} MB",
                'use a smaller batch or model, or tf.device("/CPU:0")')

    def check_arena_size(self):
        """Refuse a program of which the values between its kernels are more than a buffer holds."""
        size, most = size_class(self.arena_size), self.device_info.buffer_bytes
        if size > most:
            raise ResourceExhaustedError(
                "tf.function", f"it needs an arena of {size / 2**20:.1f} MB and the GPU has "
                f"buffers of at most {most / 2**20:.0f} MB",
                'use a smaller batch or model, or tf.device("/CPU:0")')

    def place_temporaries(self, parts: list[ShaderDispatch]) -> dict[TemporaryBuffer, BufferOffset]:
        """A place behind the arena for what a kernel's parts hand to each other."""
        found: dict[TemporaryBuffer, BufferOffset] = {}
        end = self.scratch
        for one in (b for part in parts for b in part.buffers.values() if isinstance(b, TemporaryBuffer)):
            if one not in found:
                found[one] = BufferOffset(ARENA, end)
                end += align_up(one.size_bytes, self.plan.target.buffer_alignment)
        self.arena_size = max(self.arena_size, end if found else 0)
        return found

    # ── where things lie ──

    def location(self, atom: Atom) -> BufferOffset:
        if atom in self.moving:
            return self.moving[atom]
        place = self.plan.buffer_locations[atom]
        if place.space == "arena":
            return BufferOffset(ARENA, place.offset)
        first_output = len(self.plan.inputs) + len(self.plan.constants)
        return BufferOffset(1 + self.plan.input_output_aliases.get(place.offset - first_output, place.offset), 0)

    def dispatch(self, part: ShaderDispatch, scratches: Mapping[TemporaryBuffer, BufferOffset]):
        """Place a part: bindings that share bytes are one, the others are numbered in order."""
        declared = DECLARATION.findall(part.code)
        assert {name for _, name, _ in declared} == set(part.buffers), "a part declares its buffers"
        spots = {name: scratches[b] if isinstance(b, TemporaryBuffer) else self.location(b)
                 for name, b in part.buffers.items()}
        written = {spots[name].buffer for access, name, _ in declared if access == "read_write"}
        first: dict[tuple, str] = {}
        same: dict[str, str] = {}                      # name -> the one that stands for it
        for _, name, kind in declared:
            same[name] = first.setdefault((spots[name], kind), name)
        sizes: dict[str, int] = {}                     # a piece may begin where the whole does
        for name, one in same.items():
            sizes[one] = max(sizes.get(one, 0), self.size(part.buffers[name]))
        bindings = tuple(Binding(spots[name].buffer, spots[name].offset, size,
                                 spots[name].buffer in written) for name, size in sizes.items())
        self.assert_disjoint(bindings, part)
        writes = tuple(b.writes for b in bindings)
        key = id(part), tuple(same.items()), writes
        if key not in self.texts:
            self.texts[key] = _number_bindings(part.code, same, dict(zip(sizes, writes)))
        shader = self.shaders.setdefault(self.texts[key], len(self.shaders))
        self.steps.append(Dispatch(shader, bindings, part.groups))
        self.kernels.append(self.number)
        self.bytes_moved += sum(map(self.size, part.buffers.values()))

    def size(self, buffer: Atom | TemporaryBuffer) -> int:
        size = buffer.size_bytes if isinstance(buffer, TemporaryBuffer) else \
            self.plan.target.bytes_of(buffer.spec)
        return align_up(max(size, 1), SMALLEST_BINDING)

    @staticmethod
    def assert_disjoint(bindings: tuple[Binding, ...], part: ShaderDispatch):
        for i, a in enumerate(bindings):
            for b in bindings[:i]:
                apart = a.buffer != b.buffer or not a.writes \
                    or a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
                assert apart, f"{a} and {b} overlap in\n{part.code}"

    # ── loops of steps ──

    def unroll_scan(self, step: ScheduledKernel):
        """All turns, one after the other: what moves lies elsewhere in each."""
        k, number, before = step.kernel, self.number, dict(self.moving)
        in_use, scratch = self.staged, self.scratch
        staged = {p.element: self.staging_location(p) for p in k.slices
                  if self.is_misaligned(p) or self.overlaps_own_source(p, k)}
        for turn in range(k.count):
            for c in k.carries:
                ends = [self.location(c.final), self.location(c.spare)]
                left = k.count - 1 - turn              # the last turn writes to the end
                self.moving[c.input] = self.location(c.init) if turn == 0 else ends[(left + 1) % 2]
                self.moving[c.output] = ends[left % 2]
            pieces = {p.element: self.slice_location(p, k.count - 1 - turn if k.reverse else turn)
                      for p in k.slices}
            self.moving |= pieces | staged
            self.add_copies(staged, pieces, [v for v in staged if v not in k.written], into=True)
            self.add_steps(step.body, number)
            self.add_copies(staged, pieces, [v for v in staged if v in k.written], into=False)
        self.moving, self.staged, self.scratch = before, in_use, scratch

    def slice_location(self, p, n: int) -> BufferOffset:
        whole = self.location(p.stacked)
        return replace(whole, offset=whole.offset + n * self.plan.target.bytes_of(p.element.spec))

    def is_misaligned(self, p) -> bool:
        """Whether pieces begin where no binding can."""
        return self.plan.target.bytes_of(p.element.spec) % self.plan.target.buffer_alignment != 0

    def overlaps_own_source(self, p, k: ScanKernel) -> bool:
        """Whether a kernel reads a piece and the whole from a buffer that it may write, of which no
        two bindings may overlap."""
        return self.location(p.stacked).buffer in (ARENA, self.staging_slot) and \
            _reads_whole_and_slice(k.kernels, p.stacked, {p.element})

    def staging_location(self, p) -> BufferOffset:
        """A place for a piece in the staging buffer, which is the slot after all others; for one of
        what lies there itself, in the arena, as no buffer is copied to itself."""
        size = align_up(self.size(p.element), self.plan.target.buffer_alignment)
        if self.location(p.stacked).buffer == self.staging_slot:
            at, self.scratch = self.scratch, self.scratch + size
            self.arena_size = max(self.arena_size, self.scratch)
            return BufferOffset(ARENA, at)
        at, self.staged = self.staged, self.staged + size
        self.staging = max(self.staging, self.staged)
        return BufferOffset(self.staging_slot, at)

    def add_copies(self, staged: Mapping[Var, BufferOffset], pieces: Mapping[Var, BufferOffset], which: list[Var],
               into: bool):
        for v in which:
            size = self.plan.target.bytes_of(v.spec)
            ends = [Binding(spot.buffer, spot.offset, size, True)
                    for spot in (pieces[v], staged[v])]
            self.steps.append(Copy(*ends) if into else Copy(*ends[::-1]))
            self.bytes_moved += 2 * size


def _reads_whole_and_slice(kernels: Iterable[Kernel], whole: Atom, parts: set[Atom]) -> bool:
    """Whether one of the kernels reads a whole and some part of it, or a part of that."""
    for k in kernels:
        if isinstance(k, ScanKernel):
            inner = parts | {p.element for p in k.slices if p.stacked in parts}
            if _reads_whole_and_slice(k.kernels, whole, inner):
                return True
        elif whole in k.reads and not parts.isdisjoint(k.reads):
            return True
    return False


def _name(k: LoopKernel | KernelCall) -> str:
    return k.kernel if isinstance(k, KernelCall) else \
        ", ".join(dict.fromkeys(e.prim.name for e in k.eqns))


def _number_bindings(code: str, same: Mapping[str, str], writes: Mapping[str, bool]) -> str:
    """The module with its bindings numbered in order, names that share memory made one."""
    numbers = {name: n for n, name in enumerate(writes)}

    def declaration(found: re.Match) -> str:
        name, kind = found[2], found[3]
        if name not in numbers:
            return ""
        access = "read_write" if writes[name] else "read"
        return f"@group(0) @binding({numbers[name]}) var<storage, {access}> {name}: {kind};"

    code = DECLARATION.sub(declaration, code)
    for name, one in same.items():
        if name != one:
            # Members, and what functions of the library call by that name, are no arrays.
            code = re.sub(rf"(?<![.\w]){name}(?=\[)", one, code)
    return code
