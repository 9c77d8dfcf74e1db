"""What a backend receives: kernels as plain data, and the plan that orders and places them.

A Loop visits every index of `space`, once for each of its stages. A stage's `body` is a list of
values, each computed from earlier ones by position, at every index. Where `axes` are folded away,
its `tail` goes on with what is left: the tail's Reduced values fold the stage's own body, and its
Loads and Stores have views over the outer space, which is `space` with size 1 along `axes`. Later
stages go over the same row again (a row: all indices that fold into one): their bodies may use
the values of earlier bodies at the same index, and those of earlier tails, which are constant
along a row. Positions count on through all stages: value i is `loop.values[i]`.
"""
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Union

from ..base.dtypes import DType
from ..base.views import View
from .graph import Atom, Const, Eqn, Graph, Reduction, TensorSpec, Var


@dataclass(frozen=True, eq=False)
class Load:
    """The element of `source` that the view names at this index, as float32 or float16 also where
    it is the other of them there."""

    source: Atom
    view: View
    dtype: DType


@dataclass(frozen=True, eq=False)
class ScalarConstant:
    """A number known at compile time (bool, int or float)."""

    value: float
    dtype: DType


@dataclass(frozen=True, eq=False)
class IndexValue:
    """The loop's counter along an axis of the space: `begin + step * counter`, an int32.

    `weights` gives the step of each axis of the space (most are 0)."""

    strides: tuple[int, ...]
    offset: int
    dtype: DType


@dataclass(frozen=True, eq=False)
class ElementwiseOp:
    """A formula over x, y, z, which stand for the values at positions `args`."""

    formula: str
    args: tuple[int, ...]
    dtype: DType


@dataclass(frozen=True, eq=False)
class ReduceOp:
    """The fold of a value of the stage's body, `arg`, over the loop's axes."""

    arg: int
    reduction: Reduction
    dtype: DType


Value = Union[Load, ScalarConstant, IndexValue, ElementwiseOp, ReduceOp]


@dataclass(frozen=True, eq=False)
class Store:
    """Value `value` goes to `target` where the view says."""

    value: int
    target: Var
    view: View


@dataclass(frozen=True, eq=False)
class FiniteCheckStore(Store):
    """The one truth `target` becomes false unless value `value` is finite at every index; the view
    names it at each. Several kernels may have marks for one truth, which another one begins."""


@dataclass(frozen=True, eq=False)
class RowPass:
    """One pass over a row, and what follows from its folds."""

    elementwise: tuple[Value, ...]
    post_reduce: tuple[Value, ...] = ()


@dataclass(frozen=True, eq=False)
class LoopKernel:
    """Passes over an index space; see above. `eqns` are the equations it carries out."""

    iteration_space: tuple[int, ...]
    reduction_axes: tuple[int, ...]
    passes: tuple[RowPass, ...]
    stores: tuple[Store, ...]
    eqns: tuple[Eqn, ...]

    @cached_property
    def values(self) -> tuple[Value, ...]:
        return tuple(v for stage in self.passes for v in stage.elementwise + stage.post_reduce)

    @cached_property
    def value_sites(self) -> tuple[tuple[int, bool], ...]:
        """For each value its stage, and whether it is in the tail there."""
        return tuple((n, late) for n, stage in enumerate(self.passes)
                     for late, part in ((False, stage.elementwise), (True, stage.post_reduce)) for _ in part)

    @cached_property
    def reduced_space(self) -> tuple[int, ...]:
        """The space with size 1 along the folded axes."""
        return tuple(1 if i in self.reduction_axes else n for i, n in enumerate(self.iteration_space))

    @cached_property
    def reads(self) -> tuple[Atom, ...]:
        return tuple(dict.fromkeys(v.source for v in self.values if isinstance(v, Load)))

    @cached_property
    def writes(self) -> tuple[Var, ...]:
        return tuple(dict.fromkeys(s.target for s in self.stores))


@dataclass(frozen=True, eq=False)
class KernelCall:
    """A kernel of the engine: `function(args..., outs..., numbers..., thread, threads)`.

    `work` is about how many multiplications or element visits it takes, for the cost model. The
    `epilogue` is carried out on each part of the only result while that is in cache: a Loop of one
    stage and no folds over the space (rows, columns), where columns are the result's last axis. It
    reads the result index by index; unless it is `kept`, nobody else reads that, and it takes
    memory only where it is `staged`. Where there are `loads`, they tell what each argument is taken
    as: float32 in memory is rounded to float16 as it is loaded."""

    kernel: str
    args: tuple[Atom, ...]
    outs: tuple[Var, ...]
    params: tuple[Any, ...]
    flops: int
    eqns: tuple[Eqn, ...]
    epilogue: LoopKernel | None = None
    result_escapes: bool = True
    result_materialized: bool = True
    operand_dtypes: tuple[DType, ...] = ()

    @cached_property
    def reads(self) -> tuple[Atom, ...]:
        """What must be there before: not the result that the epilogue reads."""
        after = self.epilogue.reads if self.epilogue else ()
        return tuple(dict.fromkeys((*self.args, *(a for a in after if a not in self.outs))))

    @cached_property
    def writes(self) -> tuple[Var, ...]:
        outs = self.outs if self.result_escapes or self.result_materialized else ()
        return outs + (self.epilogue.writes if self.epilogue else ())

    @cached_property
    def result_matrix_shape(self) -> tuple[int, int]:
        """The only result's space as an epilogue sees it."""
        spec, = (out.spec for out in self.outs)
        columns = spec.shape[-1] if spec.shape else 1
        return spec.count // columns if columns else 0, columns


@dataclass(frozen=True, eq=False)
class Carry:
    """What each turn of a Repeat hands to the next: kernels read it as `before` and write it as
    `after`. The first turn reads `first`, the last one writes `last`; the others take turns with
    writing `spare` and `last`, so that nothing moves."""

    init: Atom
    input: Var
    output: Var
    final: Var
    spare: Var


@dataclass(frozen=True, eq=False)
class ScanSlice:
    """What kernels of a Repeat read or write as `part`: in each turn another piece of `whole`."""

    stacked: Atom
    element: Var


@dataclass(frozen=True, eq=False)
class ScanKernel:
    """Kernels that run `count` times, one time after the other, with `reverse` from the last
    pieces to the first."""

    count: int
    reverse: bool
    kernels: tuple["Kernel", ...]
    carries: tuple[Carry, ...]
    pieces: tuple[ScanSlice, ...]
    eqns: tuple[Eqn, ...]

    @cached_property
    def local_values(self) -> frozenset[Var]:
        """What exists within a turn only."""
        made = {v for k in self.kernels for v in k.writes}
        return frozenset(made | {c.input for c in self.carries} | {p.element for p in self.pieces})

    @cached_property
    def written(self) -> frozenset[Var]:
        return frozenset(v for k in self.kernels for v in k.writes)

    @cached_property
    def reads(self) -> tuple[Atom, ...]:
        found = [c.init for c in self.carries]
        found += [p.stacked for p in self.pieces if p.element not in self.written]
        found += [a for k in self.kernels for a in k.reads if a not in self.local_values]
        return tuple(dict.fromkeys(found))

    @cached_property
    def writes(self) -> tuple[Var, ...]:
        found: list = [v for c in self.carries for v in (c.final, c.spare)]
        found += [p.stacked for p in self.pieces if p.element in self.written]
        return tuple(found)


Kernel = Union[LoopKernel, KernelCall, ScanKernel]


def generated_loop(k: Kernel) -> LoopKernel | None:
    """What of a kernel a backend generates: all of it, its epilogue, or nothing."""
    return k if isinstance(k, LoopKernel) else k.epilogue if isinstance(k, KernelCall) else None


CACHE_LINE = 64            # bytes of a cache line


def align_up(size: int, line: int = CACHE_LINE) -> int:
    """Bytes rounded up to whole lines, which is how buffers lie, so that no two of them share one
    and no two threads wait for each other's."""
    return -(-size // line) * line


@dataclass(frozen=True)
class TargetInfo:
    """What a backend can take, told to the compiler as data."""

    max_buffers_per_kernel: int = 1 << 30           # how many different buffers one kernel may touch
    kernels_with_epilogue: frozenset[str] = frozenset()      # the kernels called by name that take one
    materializes_epilogue_input: bool = True              # whether what an epilogue alone reads lies in memory
    # The kernels called by name that take float16 as it is; None where nothing does.
    float16_kernels: frozenset[str] | None = None
    # Those that cast what they load: an argument may be float32 or float16 where it is taken as
    # float16, and the result either of them.
    kernels_casting_operands: frozenset[str] = frozenset()
    buffer_alignment: int = CACHE_LINE                 # buffers begin on multiples of so many bytes
    element_bytes_override: Mapping[str, int] = field(default_factory=dict)  # bytes of elements, where not usual
    alias_needs_same_dtype: bool = False              # whether what takes a buffer's place must be of its dtype
    # How many operations on its elements a loop carries out while memory moves a byte of them. What
    # costs less than to write and read it is computed anew (compiler/again.py); with 0 nothing is.
    remat_ops_per_byte: float = 0

    def bytes_of(self, spec: TensorSpec) -> int:
        """How many bytes a tensor takes on the backend."""
        return spec.count * self.element_bytes_override.get(spec.dtype.name, spec.dtype.size)


@dataclass(frozen=True)
class BufferLocation:
    """Where a buffer lies: slot `at` of the program's arguments, or byte `at` of its arena."""

    space: str
    offset: int


@dataclass(frozen=True, eq=False)
class ScheduledKernel:
    """A kernel, whether all threads share it, and whether they must meet before it starts; for a
    Repeat the steps of a turn, which all threads take together if any of these is shared."""

    kernel: Kernel
    parallel: bool
    barrier_before: bool
    body: tuple["ScheduledKernel", ...] = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """A whole program. Slots are numbered inputs first, then constants, then outputs; after these
    come `moving` more, whose addresses the program itself changes from turn to turn of a Repeat:
    for a Carry three, that of `before`, that of `after` and the next one for it, for a Piece one.

    `updates[i] = j`: output i may be handed the very buffer that came in as input j."""

    inputs: tuple[Var, ...]
    constants: tuple[Const, ...]
    outputs: tuple[Var, ...]
    input_output_aliases: Mapping[int, int]
    buffer_locations: Mapping[Atom, BufferLocation]
    steps: tuple[ScheduledKernel, ...]
    arena_size: int
    graph: Graph                     # what the steps carry out, for backends that take equations
    peak_live_bytes: int = 0              # of the arena, the most in use at once
    rotating_slots: int = 0
    target: TargetInfo = TargetInfo()        # what it was made for
    # For people, where a GPU carries it out: of kernels by their numbers, those within a Repeat by
    # its number and their own, how many dispatches they are, in all turns.
    dispatches: Mapping[tuple[int, ...], int] | None = None

    @property
    def slots(self) -> int:
        return len(self.inputs) + len(self.constants) + len(self.outputs) + self.rotating_slots
