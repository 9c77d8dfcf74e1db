"""Code generation for loop kernels: a LoopKernel becomes one WebAssembly function.

Each loop of the nest has a pointer for every group of leaves with equal strides. The vectorized
loop is emitted in phases: several vectors per iteration, then one vector, then the last one to
three elements with the same instructions, one element in all four lanes. A result therefore does
not depend on the position of its element, and no access is outside a buffer.
"""
from collections.abc import Callable

from ...ir.kernels import LoopKernel
from ...ir.loop_axes import order_axes
from .assembler import I32, V128, Function, shuffle
from .buffer_addresses import BufferAddresses
from .expression_codegen import CompiledExpression
from .host import WORD_BYTES
from .loop_emitter import TAIL, LoopEmitterBase
from .loop_nest import CHUNK, LANES, LoopNest, choose_loop_nest, epilogue_nest, rows_are_contiguous
from .loop_values import LANE_BYTES, SCRATCH, Accumulator, LoopValues
from .pass_values import assign_pass_values

# The parameters of a loop kernel: this thread's index, the number of threads, and the addresses of
# its buffers; one of several passes has the address of the thread's scratch memory last.
THREAD_PARAM, THREADS_PARAM, FIRST_ADDRESS_PARAM = 0, 1, 2
# The parameters of an epilogue: the address of a table with the addresses of its buffers, and a
# rectangle of rows and columns.
_TABLE, _ROW, _ROWS, _COLUMN, _COLUMNS = range(5)

_LANE_SWAPS = shuffle(2, 3, 0, 1), shuffle(1, 0, 3, 2)

# Size limit of a kernel's row cache in bytes; SCRATCH_BYTES of the engine is larger.
MAX_ROW_CACHE_BYTES = 1 << 20


def emit_loop_kernel(loop: LoopKernel, addresses: BufferAddresses, parallel: bool,
                     relaxed: bool) -> Function:
    """Return the function `(thread, threads, *addresses)` of a loop kernel; if `parallel`, each
    thread computes its partition."""
    uses_scratch = len(loop.passes) > 1
    param_count = FIRST_ADDRESS_PARAM + len(addresses.params) + uses_scratch
    if 0 in loop.reduced_space:
        return Function((I32,) * param_count)
    loop = order_axes(loop)
    passes = assign_pass_values(loop, relaxed)
    nest = choose_loop_nest(loop, passes, parallel)
    cached_values = sum(len(p.spilled) for p in passes)
    if LANE_BYTES * nest.row_layout()[1] * cached_values > MAX_ROW_CACHE_BYTES:
        passes = assign_pass_values(loop, relaxed, keep=False)
    values = LoopValues(loop, passes, nest, addresses, relaxed)
    return _LoopKernelEmitter(nest, values, param_count).function(parallel)


def emit_epilogue(loop: LoopKernel, addresses: BufferAddresses, relaxed: bool) -> Function:
    """Return the function `(table, row, rows, column, columns)` that computes one rectangle of a
    loop over (rows, columns); `table` holds the addresses."""
    passes = assign_pass_values(loop, relaxed)
    nest = epilogue_nest(loop, passes)
    values = LoopValues(loop, passes, nest, addresses, relaxed)
    emitter = _EpilogueEmitter(nest, values, _COLUMNS + 1)
    for axis, (begin, count) in enumerate(((_ROW, _ROWS), (_COLUMN, _COLUMNS))):
        emitter.subranges[nest.axis_groups.index((axis,))] = begin, count
    if rows_are_contiguous(loop):
        emitter.flatten_rows(loop.iteration_space[1])
    return emitter.function()


class _LoopEmitter(LoopEmitterBase):
    """Emits the loops around the body. `subranges`: for each loop that covers only a part of its
    range, the locals that hold the begin and the iteration count of that part."""

    def __init__(self, nest: LoopNest, values: LoopValues, param_count: int):
        super().__init__(nest, values, param_count)
        self.subranges: dict[int, tuple[int, int]] = {}

    def function(self, parallel: bool = False) -> Function:
        if parallel:
            self.emit_thread_partition()
        for key in self.base_offsets:
            self.init_pointer(key)
        self.compute_level(0)
        self.emit_outer(0)
        return self.f

    # ── threads ───────────────────────────────────────────────────────────────

    def emit_thread_partition(self):
        """Compute this thread's subrange of the partitioned loop; return if it is empty."""
        loop = self.nest.thread_loop
        if loop is None:
            self.f.get(THREAD_PARAM)
            self.return_if()
            return
        n, count = self.nest.sizes[loop], self.local(I32, "count")
        unit = CHUNK if loop in (self.nest.vector_loop, self.nest.unroll_loop) else 1
        begin = self.local(I32, "begin")
        self.subranges[loop] = begin, count
        # count = unit * ceil(ceil(n / unit) / threads); begin = thread * count
        self.f.const(-(-n // unit) - 1)
        self.f.get(THREADS_PARAM)
        self.f.op("i32.add")
        self.f.get(THREADS_PARAM)
        self.f.op("i32.div_u")
        self.mul_const(unit)
        self.f.tee(count)
        self.f.get(THREAD_PARAM)
        self.f.op("i32.mul")
        self.f.tee(begin)
        self.f.const(n)
        self.f.op("i32.ge_u")
        self.return_if()
        self.clamp_count(n, begin, count)

    def clamp_count(self, n: int, begin: int, count: int):
        """count = min(count, n - begin)"""
        remaining = self.local(I32, "remaining")
        self.f.const(n)
        self.f.get(begin)
        self.f.op("i32.sub")
        self.f.tee(remaining)
        self.f.get(count)
        self.f.get(remaining)
        self.f.get(count)
        self.f.op("i32.lt_u")
        self.f.op("select")
        self.f.set(count)

    def return_if(self):
        self.f.block("if")
        self.f.op("return")
        self.f.op("end")

    def push_buffer_address(self, buffer: int):
        """Push the address of a buffer, or of the thread's scratch memory."""
        raise NotImplementedError

    def init_pointer(self, key: tuple):
        buffer, strides = key
        pointer = self.pointers[key] = self.local(I32, "pointer", key, 0)
        if buffer is None:
            self.f.const(self.base_offsets[key])
        else:
            self.push_buffer_address(buffer)
            self.add_const(self.base_offsets[key])
        for i, (begin, _) in self.subranges.items():
            if self.advances_with(key, i):
                self.f.get(begin)
                self.mul_const(strides[i])
                self.f.op("i32.add")
        self.f.set(pointer)

    # ── loops ─────────────────────────────────────────────────────────────────

    def emit_outer(self, i: int):
        if i == self.nest.num_outer:
            self.emit_passes()
        else:
            self.emit_loop(i, lambda: self.emit_outer(i + 1))

    def emit_inner(self, i: int):
        if i == self.depth:
            self.emit_body()
        else:
            self.emit_loop(i, lambda: self.emit_inner(i + 1))

    def emit_loop(self, i: int, emit_inside: Callable[[], None]):
        """Emit all phases of loop i with copies of the pointers that it advances."""
        saved = self.pointers, self.copies, self.lanes
        needed = self.pointers if i < self.nest.num_outer else self.pointers_used(self.pass_index)
        self.pointers = {key: local for key, local in self.pointers.items() if key in needed}
        # The outermost loop may advance the original pointers, unless the next pass needs them.
        for key in [key for key in self.pointers if self.advances_with(key, i)]:
            if i or len(self.body_uses) > 1:
                self.f.get(self.pointers[key])
                self.pointers[key] = self.local(I32, "pointer", key, i + 1)
                self.f.set(self.pointers[key])
        phases = self.phases(i)
        counts = self.iteration_counts(i, phases)
        for (copies, lanes, step), count in zip(phases, counts, strict=True):
            self.copies, self.lanes = copies, lanes
            self.emit_iterations(i, count, step, emit_inside)
        self.pointers, self.copies, self.lanes = saved

    def advances_with(self, key: tuple, i: int) -> bool:
        """Whether loop i advances a pointer. All rows use the same row cache."""
        word, strides = key
        return strides[i] != 0 and (word != SCRATCH or i >= self.nest.num_outer)

    def phases(self, i: int) -> list[tuple[tuple[int, ...], int, int]]:
        """Return the phases of loop i as (copies, lanes, elements per iteration); each phase
        processes the elements that remain after the previous one."""
        all_copies = tuple(range(self.nest.unroll_factors[self.pass_index]))
        vector, unroll = self.nest.vector_loop, self.nest.unroll_loop
        if i == vector == unroll:
            copies_and_lanes = (all_copies, LANES), ((0,), LANES), ((0,), 1)
            phases = [(copies, n, len(copies) * n) for copies, n in copies_and_lanes]
        elif i == unroll:
            phases = [(copies, self.lanes, len(copies)) for copies in (all_copies, (0,))]
        elif i == vector:
            phases = [(self.copies, n, n) for n in (LANES, 1)]
        else:
            phases = [(self.copies, self.lanes, 1)]
        return list(dict.fromkeys(phases))

    def iteration_counts(self, i: int, phases) -> list:
        """Return each phase's iteration count: an int, or [local] if loop i has a subrange."""
        remaining, previous, counts = self.nest.sizes[i], None, []
        for _, _, step in phases:
            dynamic = i in self.subranges
            counts.append([self.iteration_count_local(i, previous, step)] if dynamic
                          else remaining // step)
            remaining, previous = remaining % step, step
        return counts

    def iteration_count_local(self, i: int, modulus: int | None, step: int) -> int:
        """Return a local that holds loop i's element count % modulus // step."""
        self.f.get(self.subranges[i][1])
        for n, op in ((modulus, "i32.rem_u"), (step, "i32.div_u")):
            if n not in (None, 1):
                self.f.const(n)
                self.f.op(op)
        out = self.local(I32, "iterations", i, step)
        self.f.set(out)
        return out

    def emit_iterations(self, i: int, count, step: int, emit_inside: Callable[[], None]):
        """Emit `count` iterations of loop i; a single one needs no loop, none no code."""
        if count == 0:
            return
        if count == 1:
            self.emit_iteration(i, step, emit_inside)
            return
        counter = self.local(I32, "counter", i)
        if isinstance(count, int):
            self.f.const(count)
            self.f.set(counter)
        else:
            self.f.get(count[0])
            self.f.tee(counter)
            self.f.block("if")
        self.f.block("loop")
        self.emit_iteration(i, step, emit_inside)
        self.f.get(counter)
        self.add_const(-1)
        self.f.tee(counter)
        self.f.op("br_if", 0)
        self.f.op("end")
        if not isinstance(count, int):
            self.f.op("end")

    def emit_iteration(self, i: int, step: int, emit_inside: Callable[[], None]):
        self.compute_level(i + 1)
        emit_inside()
        for key, pointer in self.pointers.items():
            if self.advances_with(key, i):
                self.f.get(pointer)
                self.add_const(key[1][i] * step)
                self.f.set(pointer)

    def compute_level(self, level: int):
        """Compute the nodes of a level that the loops inside it use."""
        if level < self.depth:
            in_outer = level <= self.nest.num_outer
            nodes = self.outer_nodes if in_outer else self.body_nodes[self.pass_index]
            for copy in self.copies if level > self.nest.unroll_loop else (0,):
                self.emit_nodes(nodes[level], copy)

    def emit_body(self):
        for copy in self.copies:
            self.emit_nodes(self.body_nodes[self.pass_index][self.depth], copy)
            for index, accumulator in self.pass_accumulators():
                self.push(accumulator.update, copy)
                self.f.set(self.accumulator_local(index, copy))
            self.emit_stores(self.elementwise_stores[self.pass_index], copy)

    # ── passes over a row ─────────────────────────────────────────────────────

    def emit_passes(self):
        """Emit all passes over the rows of one iteration of the outer loops."""
        for n in range(len(self.body_uses)):
            self.pass_index = n
            self.emit_pass()
        self.pass_index = 0

    def emit_pass(self):
        """Initialize the accumulators, emit the reduced loops, then the post-reduction values."""
        reduces_lanes, copies = self.nest.reduces_lanes, self.copies
        if reduces_lanes:
            copies = (*range(self.nest.unroll_factors[self.pass_index]), TAIL)
        for index, accumulator in self.pass_accumulators():
            for copy in copies:
                self.f.code += accumulator.init
                self.f.set(self.local(V128, "accumulator", index, copy))
        if self.body_uses[self.pass_index]:
            self.emit_inner(self.nest.num_outer)
        for index, accumulator in self.pass_accumulators() if reduces_lanes else ():
            self.horizontal_reduce(index, accumulator.combiner)
        for copy in self.copies:
            self.emit_nodes(self.tail_nodes[self.pass_index], copy)
            self.emit_stores(self.post_reduce_stores[self.pass_index], copy)

    def pass_accumulators(self) -> list[tuple[int, Accumulator]]:
        """Return the accumulators of the current pass with their indices."""
        return [(i, a) for i, a in enumerate(self.accumulators) if a.pass_index == self.pass_index]

    def horizontal_reduce(self, index: int, combiner: CompiledExpression):
        """Reduce all copies and lanes of an accumulator into its TAIL local."""
        tail = self.local(V128, "accumulator", index, TAIL)
        total, swapped = self.local(V128, "accumulator", index, 0), self.local(V128, "swapped")
        for copy in range(1, self.nest.unroll_factors[self.pass_index]):
            self.combine(combiner, total, self.local(V128, "accumulator", index, copy))
        for swap in _LANE_SWAPS:
            self.emit_binary(total, total, swap, swapped)
            self.combine(combiner, total, swapped)
        if self.nest.sizes[self.nest.vector_loop] % LANES:
            self.combine(combiner, tail, total)
        else:
            self.f.get(total)
            self.f.set(tail)

    def combine(self, combiner: CompiledExpression, total: int, other: int):
        """total = combiner(total, other)"""
        def push(value):
            if value < combiner.input_count:
                return self.f.get((total, other)[value])
            code, args = combiner.code[value - combiner.input_count]
            for arg in args:
                push(arg)
            self.f.code += code
        push(combiner.result)
        self.f.set(total)


class _LoopKernelEmitter(_LoopEmitter):
    """Emits a loop kernel, whose addresses are parameters."""

    def push_buffer_address(self, buffer: int):
        scratch = len(self.f.params) - 1
        self.f.get(scratch if buffer == SCRATCH else FIRST_ADDRESS_PARAM + buffer)


class _EpilogueEmitter(_LoopEmitter):
    """Emits an epilogue, whose addresses are in a table."""

    def push_buffer_address(self, buffer: int):
        self.f.get(_TABLE)
        self.f.memory("i32.load", WORD_BYTES * buffer)

    def flatten_rows(self, columns: int):
        """Flatten an epilogue's rectangle into a single row if its rows are complete."""
        self.f.get(_COLUMNS)
        self.f.const(columns)
        self.f.op("i32.eq")
        self.f.block("if")
        self.f.get(_ROWS)
        self.mul_const(columns)
        self.f.set(_COLUMNS)
        self.f.const(1)
        self.f.set(_ROWS)
        self.f.op("end")
