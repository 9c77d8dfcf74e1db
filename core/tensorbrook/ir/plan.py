"""Execution plan: scheduled kernels, buffer assignment and aliases; the compiler's result.

A backend describes its capabilities to the compiler as a TargetInfo, and receives a Plan.
"""
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from .graph import Atom, Const, Graph, TensorSpec, Var
from .kernels import Kernel

CACHE_LINE = 64            # bytes


def align_up(size: int, alignment: int = CACHE_LINE) -> int:
    """`size` bytes rounded up to a multiple of `alignment`.

    Buffers start on cache lines to avoid false sharing between threads.
    """
    return -(-size // alignment) * alignment


@dataclass(frozen=True)
class TargetInfo:
    """The capabilities of a backend, on which the compiler bases its decisions.

    max_buffers_per_kernel       the number of distinct buffers that a kernel may access
    kernels_with_epilogue        the library kernels that accept an epilogue
    materializes_epilogue_input  whether a result that only the epilogue consumes is still allocated
    float16_kernels              the library kernels that compute float16 directly; None if the
                                 backend has no float16 arithmetic, not even in loops
    kernels_casting_operands     the library kernels that convert on load and store: an operand may
                                 be float32 or float16 where float16 is expected, and so may the
                                 result
    buffer_alignment             the alignment of buffers, in bytes
    element_bytes_override       dtype name -> bytes per element, where they differ from the host's
    alias_needs_same_dtype       whether a result may reuse only a buffer of the same dtype
    remat_ops_per_byte           the elementwise operations that take as long as moving one byte;
                                 compiler/kernels/rematerialize.py recomputes values that cost less
                                 than storing and loading them, and is off if this is 0
    """

    max_buffers_per_kernel: int = 1 << 30
    kernels_with_epilogue: frozenset[str] = frozenset()
    materializes_epilogue_input: bool = True
    float16_kernels: frozenset[str] | None = None
    kernels_casting_operands: frozenset[str] = frozenset()
    buffer_alignment: int = CACHE_LINE
    element_bytes_override: Mapping[str, int] = field(default_factory=dict)
    alias_needs_same_dtype: bool = False
    remat_ops_per_byte: float = 0

    @cached_property
    def graph_key(self) -> tuple:
        """The part of the target on which the graph passes depend."""
        casting = self.kernels_casting_operands
        return self.float16_kernels, casting, casting and self.kernels_with_epilogue

    def bytes_of(self, spec: TensorSpec) -> int:
        """The size of a tensor on the backend."""
        return spec.count * self.element_bytes_override.get(spec.dtype.name, spec.dtype.size)


@dataclass(frozen=True)
class BufferLocation:
    """The location of a buffer: argument slot `offset` ("slot"), or byte `offset` of the arena
    ("arena")."""

    space: str
    offset: int


@dataclass(frozen=True, eq=False)
class ScheduledKernel:
    """A kernel with its parallelism and synchronization.

    parallel        whether all threads run a partition of the kernel each; otherwise one thread
                    runs all of it
    barrier_before  whether all threads synchronize before it starts
    body            for a ScanKernel the scheduled kernels of an iteration; the ScanKernel is
                    parallel, which means that all threads execute its loop, if any of them is
    """

    kernel: Kernel
    parallel: bool
    barrier_before: bool
    body: tuple["ScheduledKernel", ...] = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """A compiled program: kernels in execution order, and a location for every buffer.

    Argument slots are ordered: inputs, constants, outputs, and then `rotating_slots`, the addresses
    that the program itself updates between the iterations of a ScanKernel. A Carry has three
    rotating slots, for its input, its output, and the output of the next iteration; a ScanSlice has
    one.

    input_output_aliases  output i -> input j: the caller may pass the buffer of input j as output i
    arena_size            bytes of the arena, which holds all intermediate buffers
    graph                 the graph that the plan implements, for backends that interpret equations
    peak_live_bytes       the largest size of simultaneously live buffers in the arena
    target                the TargetInfo for which the plan was made
    dispatches            for printing, on a GPU: kernel index -> number of dispatches in all
                          iterations; the kernels of a ScanKernel have the index (n, index within)
    """

    inputs: tuple[Var, ...]
    constants: tuple[Const, ...]
    outputs: tuple[Var, ...]
    input_output_aliases: Mapping[int, int]
    buffer_locations: Mapping[Atom, BufferLocation]
    steps: tuple[ScheduledKernel, ...]
    arena_size: int
    graph: Graph
    peak_live_bytes: int = 0
    rotating_slots: int = 0
    target: TargetInfo = TargetInfo()
    dispatches: Mapping[tuple[int, ...], int] | None = None

    @property
    def slots(self) -> int:
        """The number of argument slots."""
        return len(self.inputs) + len(self.constants) + len(self.outputs) + self.rotating_slots
