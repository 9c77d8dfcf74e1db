"""Writes a kernel's values: nodes into locals or on the stack, leaves from memory, stores."""
from .assembler import I32, V128, Function, shuffle, v128_const
from .instruction_graph import choose_locals, reachable
from .loop_nest import LANES, LoopNest
from .loop_values import IndexLeaf, AccumulatorLeaf, MemoryLeaf, LoopValues, StoreNode

ARGUMENTS = 1                            # the parameter that holds the arguments block's address
TAIL = -1                              # the accumulator of the last one to three elements

_LOW, _HIGH = shuffle(0, 4, 1, 5), shuffle(2, 6, 3, 7)
_FIRST, _SECOND = shuffle(0, 1, 4, 5), shuffle(2, 3, 6, 7)


def pointer_of(leaf: MemoryLeaf | IndexLeaf) -> tuple:
    """Leaves with the same key share a pointer: what begins it, and the steps it moves in."""
    return (leaf.word if isinstance(leaf, MemoryLeaf) else None), leaf.steps


class LoopEmitterBase:
    """`copies` of the body of stage `stage` are being written, each over `lanes` elements;
    `pointers` are the locals that hold where the loop at hand stands."""

    def __init__(self, nest: LoopNest, values: LoopValues, params=(I32, I32), arguments: int = ARGUMENTS):
        self.nest, self.values, self.folds = nest, values.lanes, values.folds
        self.early = values.stores_by_pass(late=False)
        self.late = values.stores_by_pass(late=True)
        self.inner = len(nest.sizes)
        self.assign_locals()
        self.f, self.arguments = Function(params), arguments
        self.locals: dict[tuple, int] = {}
        self.pointers: dict[tuple, int] = {}
        self.begins = self.pointer_bases()
        self.copies: tuple[int, ...] = (0,)
        self.lanes, self.stage = 1, 0

    def needs_transpose(self, leaf) -> bool:
        """Whether a leaf lies side by side along the spread loop and not along the vector loop."""
        if self.nest.unroll_loop == self.nest.vector or not isinstance(leaf, MemoryLeaf):
            return False
        side, along = leaf.steps[self.nest.unroll_loop], leaf.steps[self.nest.vector]
        return leaf.size == side == 4 and along not in (0, 4)

    def assign_locals(self):
        """Which nodes get a local, and where they are computed: in the outer loops, once; in the
        loops of each stage that uses them, by level; or in a stage's tail."""
        bodies = [[f.node for f in self.folds if f.stage == n] + [w.node for w in early]
                  for n, early in enumerate(self.early)]
        tails = [[w.node for w in late] for late in self.late]
        body, tail = ([node for nodes in parts for node in nodes] for parts in (bodies, tails))
        self.nodes = reachable(self.values, body + tail)
        self.turned = {node for node in self.nodes if self.needs_transpose(self.values.code[node])}
        roots = dict.fromkeys(tail, self.nest.num_outer) | dict.fromkeys(body, self.inner)
        # Where several buffers are written, all values are there before the first is written:
        # one may be written over what another is computed from.
        keep = {w.node for writes in self.early + self.late if len(writes) > 1 for w in writes}
        chosen = choose_locals(self.values, self.nodes, roots, keep | self.turned)
        self.named = {n for n in chosen if not isinstance(self.values.code[n], AccumulatorLeaf)}
        self.used = [reachable(self.values, nodes) for nodes in bodies]
        self.outer, self.levels, self.tails = self.place_locals([reachable(self.values, t) for t in tails])

    def place_locals(self, tails: list[list[int]]) -> tuple[list, list, list]:
        """The named nodes of the outer loops by level, of each stage by level, of each tail."""
        levels = range(self.inner + 1)
        outer, stages = [[] for _ in levels], [[[] for _ in levels] for _ in self.used]
        ends: list[list[int]] = [[] for _ in self.used]
        bodies = [set(nodes) for nodes in self.used]
        for node in sorted(self.named):
            level, after = self.values.level[node], self.values.after_pass[node]
            in_bodies = [n for n, body in enumerate(bodies) if node in body]
            of_row = level == self.nest.num_outer < self.inner
            if level < self.nest.num_outer or of_row and in_bodies and not after:
                outer[level].append(node)
            elif of_row:
                ends[max(after - 1, 0)].append(node)
            else:
                for n in in_bodies:
                    stages[n][level].append(node)
                for n, nodes in enumerate(tails):
                    if node in nodes and n not in in_bodies:
                        ends[n].append(node)
        return outer, stages, ends

    # ── locals and addresses ──────────────────────────────────────────────────

    def local(self, type: int, *key) -> int:
        """The local for `key`, the same one each time."""
        if key not in self.locals:
            self.locals[key] = self.f.local(type)
        return self.locals[key]

    def node_local(self, node: int, copy: int) -> int:
        return self.local(V128, "node", node, copy if self.values.is_varying[node] else 0)

    def accumulator(self, at: int, copy: int) -> int:
        """A fold's accumulator. Single elements have one of their own beside folded lanes."""
        single = self.nest.reduces_lanes and self.lanes == 1
        return self.local(V128, "accumulator", at, TAIL if single else copy)

    def pointer_bases(self) -> dict[tuple, int]:
        """Where each pointer begins: at the first of the leaves that share it."""
        leaves = [self.values.code[node] for node in self.nodes]
        leaves += [w.to for writes in self.early + self.late for w in writes]
        begins: dict[tuple, int] = {}
        for leaf in leaves:
            if isinstance(leaf, (MemoryLeaf, IndexLeaf)):
                key = pointer_of(leaf)
                begins[key] = min(begins.get(key, leaf.offset), leaf.offset)
        return begins

    def pointers_used(self, n: int) -> set[tuple]:
        """The pointers that the body of stage n uses."""
        leaves = [self.values.code[node] for node in self.used[n]] + [w.to for w in self.early[n]]
        return {pointer_of(leaf) for leaf in leaves if isinstance(leaf, (MemoryLeaf, IndexLeaf))}

    def add_const(self, n: int):
        if n:
            self.f.const(n)
            self.f.op("i32.add")

    def mul_const(self, n: int):
        if n != 1:
            self.f.const(n)
            self.f.op("i32.mul")

    def offset(self, leaf: MemoryLeaf | IndexLeaf, copy: int) -> int:
        """How far a copy's first element lies from the leaf's pointer."""
        turns = copy * (LANES if self.nest.unroll_loop == self.nest.vector else 1)
        return leaf.offset - self.begins[pointer_of(leaf)] + turns * leaf.steps[self.nest.unroll_loop]

    def address(self, leaf: MemoryLeaf, copy: int, lane: int = 0) -> int:
        """Push the leaf's pointer; returns the offset at which a lane's element lies."""
        offset = self.offset(leaf, copy) + lane * leaf.steps[self.nest.vector]
        self.f.get(self.pointers[pointer_of(leaf)])
        if offset >= 0:
            return offset
        self.add_const(offset)
        return 0

    # ── nodes ─────────────────────────────────────────────────────────────────

    def emit_nodes(self, nodes: list[int], copy: int):
        """Named nodes into their locals; what all copies share, with the first."""
        for node in nodes:
            first = copy == self.copies[0]
            if node in self.turned and self.lanes == len(self.copies) == LANES:
                if first:
                    self.transpose_tile(node)
            elif first or self.values.is_varying[node]:
                self.push_expression(node, copy)
                self.f.set(self.node_local(node, copy))

    def push(self, node: int, copy: int):
        if node in self.named:
            self.f.get(self.node_local(node, copy))
        else:
            self.push_expression(node, copy)

    def push_expression(self, node: int, copy: int):
        match self.values.code[node]:
            case MemoryLeaf() as leaf:
                self.load(leaf, copy)
            case IndexLeaf() as leaf:
                self.emit_index(leaf, copy)
            case AccumulatorLeaf(at, done):
                together = done and self.nest.reduces_lanes
                self.f.get(self.local(V128, "accumulator", at, TAIL) if together
                           else self.accumulator(at, copy))
            case code:
                for arg in self.values.args[node]:
                    self.push(arg, copy)
                self.f.code += code

    # ── memory ────────────────────────────────────────────────────────────────

    def load(self, leaf: MemoryLeaf, copy: int):
        step, bits = leaf.steps[self.nest.vector], 8 * leaf.size
        if step == 0 or self.lanes == 1:
            self.f.memory(f"v128.load{bits}_splat", self.address(leaf, copy))
        elif step == leaf.size:
            name = "v128.load" if bits == 32 else "v128.load32_zero"
            self.f.memory(name, self.address(leaf, copy))
        else:
            self.gather(leaf, copy, bits)

    def gather(self, leaf: MemoryLeaf, copy: int, bits: int):
        """Four elements that do not lie side by side."""
        offsets = [self.address(leaf, copy, lane) for lane in reversed(range(LANES))]
        self.f.memory(f"v128.load{bits}_splat", offsets.pop())
        for lane in range(1, LANES):
            self.f.memory(f"v128.load{bits}_lane", offsets.pop(), lane)

    def transpose_tile(self, node: int):
        """Four rows of four elements, as the four columns that four copies want."""
        rows = [self.local(V128, "row", i) for i in range(LANES)]
        pairs = [self.local(V128, "pair", i) for i in range(LANES)]
        for lane, row in enumerate(rows):
            self.f.memory("v128.load", self.address(self.values.code[node], 0, lane))
            self.f.set(row)
        for i, pair in enumerate(pairs):
            self.emit_binary(rows[i % 2 * 2], rows[i % 2 * 2 + 1], _HIGH if i // 2 else _LOW, pair)
        for copy in range(LANES):
            pick = _SECOND if copy % 2 else _FIRST
            first = copy // 2 * 2
            self.emit_binary(pairs[first], pairs[first + 1], pick, self.node_local(node, copy))

    def emit_binary(self, x: int, y: int, code: bytes, into: int):
        self.f.get(x)
        self.f.get(y)
        self.f.code += code
        self.f.set(into)

    def emit_index(self, leaf: IndexLeaf, copy: int):
        """The counter in every lane, each lane one step further."""
        step = leaf.steps[self.nest.vector]
        self.f.get(self.pointers[pointer_of(leaf)])
        self.add_const(self.offset(leaf, copy))
        self.f.op("i32x4.splat")
        if step and self.lanes > 1:
            lanes = [(step * lane) % 2**32 for lane in range(LANES)]
            self.f.code += v128_const(b"".join(n.to_bytes(4, "little") for n in lanes))
            self.f.op("i32x4.add")

    def write(self, writes: list[StoreNode], copy: int):
        for write in writes:
            step, bits = write.to.steps[self.nest.vector], 8 * write.to.size
            if self.lanes > 1 and step != write.to.size:
                self.scatter(write, copy, bits)
                continue
            offset = self.address(write.to, copy)
            self.push(write.node, copy)
            if self.lanes == 1:
                self.f.memory(f"v128.store{bits}_lane", offset, 0)
            elif bits == 32:
                self.f.memory("v128.store", offset)
            else:
                self.f.memory("v128.store32_lane", offset, 0)

    def scatter(self, write: StoreNode, copy: int, bits: int):
        """Four elements to places that do not lie side by side."""
        vector = self.local(V128, "scattered")
        self.push(write.node, copy)
        self.f.set(vector)
        for lane in range(LANES):
            offset = self.address(write.to, copy, lane)
            self.f.get(vector)
            self.f.memory(f"v128.store{bits}_lane", offset, lane)
