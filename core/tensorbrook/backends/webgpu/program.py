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
from ...ir import Atom, Call, Kernel, Loop, Plan, Repeat, Step, Var, whole_lines
from .calls import CALLS
from .facts import Facts
from .memory import rounded
from .image import STAMP, Binding, Commands, Copy, Dispatch, Image
from .loops import parts as loop_parts
from .part import Part, Scratch

DECLARATION = re.compile(
    r"^@group\(0\) @binding\(\d+\) var<storage, (read|read_write)> (\w+): ([^;]+);$", re.M)

ARENA = 0
SMALLEST_BINDING = 16                # bytes: one vec4<f32>


@dataclass(frozen=True)
class Spot:
    """Where a buffer lies: the number of a binding's buffer, and the byte where it begins."""

    buffer: int
    offset: int


def image_of(plan: Plan, facts: Facts, stamps: bool = False) -> Image:
    """The image of a plan, for a device of these facts; with `stamps` it notes the time before and
    after each dispatch."""
    p = _Program(plan, facts)
    p.take(plan.steps)
    p.demand_arena()
    constants = tuple((c.spec.dtype.name, bytes(c.value)) for c in plan.constants)
    outputs = tuple((o.spec.dtype.name, o.spec.count) for o in plan.outputs)
    stamped = 2 * STAMP * len(p.kernels) if stamps else 0
    commands = Commands(tuple(p.shaders), tuple(p.names), tuple(p.steps), stamped)
    writes = commands.written(len(plan.inputs) + len(constants) + len(outputs))
    return Image(commands.to_bytes(), constants, len(plan.inputs), outputs, dict(plan.updates),
                 writes, p.arena_size, p.staging, p.bytes_moved, tuple(p.kernels), stamped)


class _Program:
    """The steps of a program while they are written."""

    def __init__(self, plan: Plan, facts: Facts):
        self.plan, self.facts = plan, facts
        self.shaders: dict[str, int] = {}
        self.names: list[str] = []                     # of the kernels that shaders are first for
        self.steps: list[Dispatch | Copy] = []
        self.kernels: list[tuple[int, ...]] = []       # of each dispatch: its kernel's number
        self.number: tuple[int, ...] = ()              # that of the kernel that is placed
        self.scratch = whole_lines(plan.arena_size, plan.limits.line)    # begins where others end
        self.arena_size, self.bytes_moved = plan.arena_size, 0
        self.staging = self.staged = 0                 # bytes: at most, and in use now
        self.staging_slot = 1 + plan.slots - plan.moving
        self.moving: dict[Var, Spot] = {}              # where it lies in this turn of a Repeat
        self.parts: dict[int, list[Part]] = {}         # of kernels that turn
        self.texts: dict[tuple, tuple[str, tuple[int, ...]]] = {}

    def take(self, steps: tuple[Step, ...], above: tuple[int, ...] = ()):
        for n, step in enumerate(steps):
            self.number = *above, n
            if isinstance(step.kernel, Repeat):
                self.repeat(step)
            else:
                self.kernel(step.kernel)

    def kernel(self, k: Loop | Call):
        if id(k) not in self.parts:
            make = loop_parts if isinstance(k, Loop) else CALLS[k.function]
            self.parts[id(k)] = make(k, self.facts)
            self.demand_room(k, self.parts[id(k)])
        at = self.scratches(self.parts[id(k)])
        for part in self.parts[id(k)]:
            self.dispatch(part, at)
        self.names += [_name(k)] * (len(self.shaders) - len(self.names))

    def demand_room(self, k: Loop | Call, parts: list[Part]):
        """Refuse a kernel of which one buffer is more than the device can bind."""
        size = max((self.size(b) for part in parts for b in part.buffers.values()), default=0)
        if size > self.facts.binding_bytes:
            raise ResourceExhaustedError(
                k.eqns[-1].prim.name if k.eqns else k.function,
                f"it needs {size / 2**20:.1f} MB in one piece and the GPU binds at most "
                f"{self.facts.binding_bytes / 2**20:.0f} MB",
                'use a smaller batch or model, or tf.device("/CPU:0")')

    def demand_arena(self):
        """Refuse a program of which the values between its kernels are more than a buffer holds."""
        size, most = rounded(self.arena_size), self.facts.buffer_bytes
        if size > most:
            raise ResourceExhaustedError(
                "tf.function", f"it needs an arena of {size / 2**20:.1f} MB and the GPU has "
                f"buffers of at most {most / 2**20:.0f} MB",
                'use a smaller batch or model, or tf.device("/CPU:0")')

    def scratches(self, parts: list[Part]) -> dict[Scratch, Spot]:
        """A place behind the arena for what a kernel's parts hand to each other."""
        found: dict[Scratch, Spot] = {}
        end = self.scratch
        for one in (b for part in parts for b in part.buffers.values() if isinstance(b, Scratch)):
            if one not in found:
                found[one] = Spot(ARENA, end)
                end += whole_lines(one.size_bytes, self.plan.limits.line)
        self.arena_size = max(self.arena_size, end if found else 0)
        return found

    # ── where things lie ──

    def spot(self, atom: Atom) -> Spot:
        if atom in self.moving:
            return self.moving[atom]
        place = self.plan.places[atom]
        if place.kind == "arena":
            return Spot(ARENA, place.at)
        first_output = len(self.plan.inputs) + len(self.plan.constants)
        return Spot(1 + self.plan.updates.get(place.at - first_output, place.at), 0)

    def dispatch(self, part: Part, scratches: Mapping[Scratch, Spot]):
        """Place a part: bindings that share bytes are one, the others are numbered in order."""
        declared = DECLARATION.findall(part.code)
        assert {name for _, name, _ in declared} == set(part.buffers), "a part declares its buffers"
        spots = {name: scratches[b] if isinstance(b, Scratch) else self.spot(b)
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
        self.no_overlap(bindings, part)
        writes = tuple(b.writes for b in bindings)
        key = id(part), tuple(same.items()), writes
        if key not in self.texts:
            self.texts[key] = _placed(part.code, same, dict(zip(sizes, writes)))
        shader = self.shaders.setdefault(self.texts[key], len(self.shaders))
        self.steps.append(Dispatch(shader, bindings, part.groups))
        self.kernels.append(self.number)
        self.bytes_moved += sum(map(self.size, part.buffers.values()))

    def size(self, buffer: Atom | Scratch) -> int:
        size = buffer.size_bytes if isinstance(buffer, Scratch) else \
            self.plan.limits.bytes_of(buffer.spec)
        return whole_lines(max(size, 1), SMALLEST_BINDING)

    @staticmethod
    def no_overlap(bindings: tuple[Binding, ...], part: Part):
        for i, a in enumerate(bindings):
            for b in bindings[:i]:
                apart = a.buffer != b.buffer or not a.writes \
                    or a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
                assert apart, f"{a} and {b} overlap in\n{part.code}"

    # ── loops of steps ──

    def repeat(self, step: Step):
        """All turns, one after the other: what moves lies elsewhere in each."""
        k, number, before = step.kernel, self.number, dict(self.moving)
        in_use, scratch = self.staged, self.scratch
        staged = {p.part: self.stage(p) for p in k.pieces
                  if self.crooked(p) or self.meets_itself(p, k)}
        for turn in range(k.count):
            for c in k.carries:
                ends = [self.spot(c.last), self.spot(c.spare)]
                left = k.count - 1 - turn              # the last turn writes to the end
                self.moving[c.before] = self.spot(c.first) if turn == 0 else ends[(left + 1) % 2]
                self.moving[c.after] = ends[left % 2]
            pieces = {p.part: self.piece(p, k.count - 1 - turn if k.reverse else turn)
                      for p in k.pieces}
            self.moving |= pieces | staged
            self.copies(staged, pieces, [v for v in staged if v not in k.written], into=True)
            self.take(step.inside, number)
            self.copies(staged, pieces, [v for v in staged if v in k.written], into=False)
        self.moving, self.staged, self.scratch = before, in_use, scratch

    def piece(self, p, n: int) -> Spot:
        whole = self.spot(p.whole)
        return replace(whole, offset=whole.offset + n * self.plan.limits.bytes_of(p.part.spec))

    def crooked(self, p) -> bool:
        """Whether pieces begin where no binding can."""
        return self.plan.limits.bytes_of(p.part.spec) % self.plan.limits.line != 0

    def meets_itself(self, p, k: Repeat) -> bool:
        """Whether a kernel reads a piece and the whole from a buffer that it may write, of which no
        two bindings may overlap."""
        return self.spot(p.whole).buffer in (ARENA, self.staging_slot) and \
            _read_together(k.kernels, p.whole, {p.part})

    def stage(self, p) -> Spot:
        """A place for a piece in the staging buffer, which is the slot after all others; for one of
        what lies there itself, in the arena, as no buffer is copied to itself."""
        size = whole_lines(self.size(p.part), self.plan.limits.line)
        if self.spot(p.whole).buffer == self.staging_slot:
            at, self.scratch = self.scratch, self.scratch + size
            self.arena_size = max(self.arena_size, self.scratch)
            return Spot(ARENA, at)
        at, self.staged = self.staged, self.staged + size
        self.staging = max(self.staging, self.staged)
        return Spot(self.staging_slot, at)

    def copies(self, staged: Mapping[Var, Spot], pieces: Mapping[Var, Spot], which: list[Var],
               into: bool):
        for v in which:
            size = self.plan.limits.bytes_of(v.spec)
            ends = [Binding(spot.buffer, spot.offset, size, True)
                    for spot in (pieces[v], staged[v])]
            self.steps.append(Copy(*ends) if into else Copy(*ends[::-1]))
            self.bytes_moved += 2 * size


def _read_together(kernels: Iterable[Kernel], whole: Atom, parts: set[Atom]) -> bool:
    """Whether one of the kernels reads a whole and some part of it, or a part of that."""
    for k in kernels:
        if isinstance(k, Repeat):
            inner = parts | {p.part for p in k.pieces if p.whole in parts}
            if _read_together(k.kernels, whole, inner):
                return True
        elif whole in k.reads and not parts.isdisjoint(k.reads):
            return True
    return False


def _name(k: Loop | Call) -> str:
    return k.function if isinstance(k, Call) else \
        ", ".join(dict.fromkeys(e.prim.name for e in k.eqns))


def _placed(code: str, same: Mapping[str, str], writes: Mapping[str, bool]) -> str:
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
