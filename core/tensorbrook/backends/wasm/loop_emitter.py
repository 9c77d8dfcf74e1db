"""Instruction emission for a loop body: evaluates graph nodes, loads leaves, writes stores."""
from .assembler import I32, V128, Function, shuffle, v128_const
from .instruction_graph import choose_locals, reachable
from .loop_nest import LANES, LoopNest
from .loop_values import AccumulatorLeaf, IndexLeaf, LoopValues, MemoryLeaf, StoreNode

TAIL = -1                                # in place of a copy: the last one to three elements

_LOW, _HIGH = shuffle(0, 4, 1, 5), shuffle(2, 6, 3, 7)
_FIRST, _SECOND = shuffle(0, 1, 4, 5), shuffle(2, 3, 6, 7)


def pointer_key(leaf: MemoryLeaf | IndexLeaf) -> tuple:
    """Return the key of a leaf's pointer: leaves with the same base and strides share one."""
    return (leaf.buffer if isinstance(leaf, MemoryLeaf) else None), leaf.strides


class LoopEmitterBase:
    """Emits the body of pass `pass_index` for the unroll copies `copies`, each over `lanes`
    elements; `pointers` are the locals that hold the pointers in the current loop."""

    def __init__(self, nest: LoopNest, values: LoopValues, param_count: int):
        self.nest, self.graph, self.accumulators = nest, values.graph, values.accumulators
        self.elementwise_stores = values.stores_by_pass(post_reduce=False)
        self.post_reduce_stores = values.stores_by_pass(post_reduce=True)
        self.depth = len(nest.sizes)
        self.assign_locals()
        self.f = Function((I32,) * param_count)
        self.locals: dict[tuple, int] = {}
        self.pointers: dict[tuple, int] = {}
        self.base_offsets = self.pointer_bases()
        self.copies: tuple[int, ...] = (0,)
        self.lanes, self.pass_index = 1, 0

    def needs_transpose(self, leaf) -> bool:
        """Whether a leaf is contiguous along the unrolled loop but not along the vector loop."""
        if self.nest.unroll_loop == self.nest.vector_loop or not isinstance(leaf, MemoryLeaf):
            return False
        across, along = leaf.strides[self.nest.unroll_loop], leaf.strides[self.nest.vector_loop]
        return leaf.element_size == across == 4 and along not in (0, 4)

    def assign_locals(self):
        """Choose the nodes that get a local, and where each is computed: once in the outer loops,
        in the loops of each pass that uses it, or after the reduced loops of a pass."""
        bodies = [[a.update for a in self.accumulators if a.pass_index == n]
                  + [s.node for s in stores] for n, stores in enumerate(self.elementwise_stores)]
        tails = [[s.node for s in stores] for stores in self.post_reduce_stores]
        body, tail = ([n for nodes in passes for n in nodes] for passes in (bodies, tails))
        self.nodes = reachable(self.graph, body + tail)
        self.transposed = {n for n in self.nodes if self.needs_transpose(self.graph.code[n])}
        roots = dict.fromkeys(tail, self.nest.num_outer) | dict.fromkeys(body, self.depth)
        # With several stores, compute all values before the first store: a target may alias a
        # buffer from which another value is loaded.
        stores_by_pass = self.elementwise_stores + self.post_reduce_stores
        keep = {s.node for stores in stores_by_pass if len(stores) > 1 for s in stores}
        chosen = choose_locals(self.graph, self.nodes, roots, keep | self.transposed)
        self.in_local = {n for n in chosen if not isinstance(self.graph.code[n], AccumulatorLeaf)}
        self.body_uses = [reachable(self.graph, nodes) for nodes in bodies]
        self.place_locals([reachable(self.graph, nodes) for nodes in tails])

    def place_locals(self, tail_uses: list[list[int]]):
        """Set the nodes to compute into locals: `outer_nodes` by level in the outer loops,
        `body_nodes` by pass and level, and `tail_nodes` after the reduced loops of each pass."""
        levels = range(self.depth + 1)
        self.outer_nodes: list[list[int]] = [[] for _ in levels]
        self.body_nodes: list[list[list[int]]] = [[[] for _ in levels] for _ in self.body_uses]
        self.tail_nodes: list[list[int]] = [[] for _ in self.body_uses]
        bodies = [set(nodes) for nodes in self.body_uses]
        for node in sorted(self.in_local):
            level, after_pass = self.graph.level[node], self.graph.after_pass[node]
            in_bodies = [n for n, body in enumerate(bodies) if node in body]
            per_row = level == self.nest.num_outer < self.depth
            if level < self.nest.num_outer or per_row and in_bodies and not after_pass:
                self.outer_nodes[level].append(node)
            elif per_row:
                self.tail_nodes[max(after_pass - 1, 0)].append(node)
            else:
                for n in in_bodies:
                    self.body_nodes[n][level].append(node)
                for n, nodes in enumerate(tail_uses):
                    if node in nodes and n not in in_bodies:
                        self.tail_nodes[n].append(node)

    # ── locals and addresses ──────────────────────────────────────────────────

    def local(self, type: int, *key) -> int:
        """Return the local for `key`, which is created on first use."""
        if key not in self.locals:
            self.locals[key] = self.f.local(type)
        return self.locals[key]

    def node_local(self, node: int, copy: int) -> int:
        return self.local(V128, "node", node, copy if self.graph.is_varying[node] else 0)

    def accumulator_local(self, index: int, copy: int) -> int:
        """Return an accumulator's local. If lanes are reduced, the elements of the scalar loop
        have a separate one."""
        scalar = self.nest.reduces_lanes and self.lanes == 1
        return self.local(V128, "accumulator", index, TAIL if scalar else copy)

    def pointer_bases(self) -> dict[tuple, int]:
        """Return the base offset of each pointer: the smallest offset of the leaves sharing it."""
        leaves = [self.graph.code[node] for node in self.nodes]
        stores_by_pass = self.elementwise_stores + self.post_reduce_stores
        leaves += [s.target for stores in stores_by_pass for s in stores]
        offsets: dict[tuple, int] = {}
        for leaf in leaves:
            if isinstance(leaf, (MemoryLeaf, IndexLeaf)):
                key = pointer_key(leaf)
                offsets[key] = min(offsets.get(key, leaf.offset), leaf.offset)
        return offsets

    def pointers_used(self, n: int) -> set[tuple]:
        """Return the keys of the pointers that the body of pass n uses."""
        leaves = [self.graph.code[node] for node in self.body_uses[n]]
        leaves += [s.target for s in self.elementwise_stores[n]]
        return {pointer_key(leaf) for leaf in leaves if isinstance(leaf, (MemoryLeaf, IndexLeaf))}

    def add_const(self, n: int):
        if n:
            self.f.const(n)
            self.f.op("i32.add")

    def mul_const(self, n: int):
        if n != 1:
            self.f.const(n)
            self.f.op("i32.mul")

    def offset(self, leaf: MemoryLeaf | IndexLeaf, copy: int) -> int:
        """Return the offset of a copy's first element from the leaf's pointer."""
        iterations = copy * (LANES if self.nest.unroll_loop == self.nest.vector_loop else 1)
        base = self.base_offsets[pointer_key(leaf)]
        return leaf.offset - base + iterations * leaf.strides[self.nest.unroll_loop]

    def address(self, leaf: MemoryLeaf, copy: int, lane: int = 0) -> int:
        """Push the leaf's pointer; returns the offset of a lane's element from it."""
        offset = self.offset(leaf, copy) + lane * leaf.strides[self.nest.vector_loop]
        self.f.get(self.pointers[pointer_key(leaf)])
        if offset >= 0:
            return offset
        self.add_const(offset)
        return 0

    # ── nodes ─────────────────────────────────────────────────────────────────

    def emit_nodes(self, nodes: list[int], copy: int):
        """Compute nodes into their locals; nodes that all copies share, with the first copy."""
        for node in nodes:
            first = copy == self.copies[0]
            if node in self.transposed and self.lanes == len(self.copies) == LANES:
                if first:
                    self.transpose_tile(node)
            elif first or self.graph.is_varying[node]:
                self.push_expression(node, copy)
                self.f.set(self.node_local(node, copy))

    def push(self, node: int, copy: int):
        if node in self.in_local:
            self.f.get(self.node_local(node, copy))
        else:
            self.push_expression(node, copy)

    def push_expression(self, node: int, copy: int):
        match self.graph.code[node]:
            case MemoryLeaf() as leaf:
                self.load(leaf, copy)
            case IndexLeaf() as leaf:
                self.emit_index(leaf, copy)
            case AccumulatorLeaf(index, final):
                reduced = final and self.nest.reduces_lanes
                self.f.get(self.local(V128, "accumulator", index, TAIL) if reduced
                           else self.accumulator_local(index, copy))
            case code:
                for arg in self.graph.args[node]:
                    self.push(arg, copy)
                self.f.code += code

    # ── memory ────────────────────────────────────────────────────────────────

    def load(self, leaf: MemoryLeaf, copy: int):
        stride, bits = leaf.strides[self.nest.vector_loop], 8 * leaf.element_size
        if stride == 0 or self.lanes == 1:
            self.f.memory(f"v128.load{bits}_splat", self.address(leaf, copy))
        elif stride == leaf.element_size:
            name = "v128.load" if bits == 32 else "v128.load32_zero"
            self.f.memory(name, self.address(leaf, copy))
        else:
            self.gather(leaf, copy, bits)

    def gather(self, leaf: MemoryLeaf, copy: int, bits: int):
        """Load four elements that are not contiguous."""
        offsets = [self.address(leaf, copy, lane) for lane in reversed(range(LANES))]
        self.f.memory(f"v128.load{bits}_splat", offsets.pop())
        for lane in range(1, LANES):
            self.f.memory(f"v128.load{bits}_lane", offsets.pop(), lane)

    def transpose_tile(self, node: int):
        """Load four rows of four elements and transpose them into the locals of four copies."""
        rows = [self.local(V128, "row", i) for i in range(LANES)]
        pairs = [self.local(V128, "pair", i) for i in range(LANES)]
        for lane, row in enumerate(rows):
            self.f.memory("v128.load", self.address(self.graph.code[node], 0, lane))
            self.f.set(row)
        for i, pair in enumerate(pairs):
            self.emit_binary(rows[i % 2 * 2], rows[i % 2 * 2 + 1], _HIGH if i // 2 else _LOW, pair)
        for copy in range(LANES):
            pick = _SECOND if copy % 2 else _FIRST
            first = copy // 2 * 2
            self.emit_binary(pairs[first], pairs[first + 1], pick, self.node_local(node, copy))

    def emit_binary(self, x: int, y: int, code: bytes, result: int):
        self.f.get(x)
        self.f.get(y)
        self.f.code += code
        self.f.set(result)

    def emit_index(self, leaf: IndexLeaf, copy: int):
        """Push a vector of index values: the counter plus `lane * stride` in each lane."""
        stride = leaf.strides[self.nest.vector_loop]
        self.f.get(self.pointers[pointer_key(leaf)])
        self.add_const(self.offset(leaf, copy))
        self.f.op("i32x4.splat")
        if stride and self.lanes > 1:
            lanes = [(stride * lane) % 2**32 for lane in range(LANES)]
            self.f.code += v128_const(b"".join(n.to_bytes(4, "little") for n in lanes))
            self.f.op("i32x4.add")

    def emit_stores(self, stores: list[StoreNode], copy: int):
        for store in stores:
            stride = store.target.strides[self.nest.vector_loop]
            bits = 8 * store.target.element_size
            if self.lanes > 1 and stride != store.target.element_size:
                self.scatter(store, copy, bits)
                continue
            offset = self.address(store.target, copy)
            self.push(store.node, copy)
            if self.lanes == 1:
                self.f.memory(f"v128.store{bits}_lane", offset, 0)
            elif bits == 32:
                self.f.memory("v128.store", offset)
            else:
                self.f.memory("v128.store32_lane", offset, 0)

    def scatter(self, store: StoreNode, copy: int, bits: int):
        """Store four elements that are not contiguous."""
        vector = self.local(V128, "scattered")
        self.push(store.node, copy)
        self.f.set(vector)
        for lane in range(LANES):
            offset = self.address(store.target, copy, lane)
            self.f.get(vector)
            self.f.memory(f"v128.store{bits}_lane", offset, lane)
