"""The values of one kernel as a graph of vector instructions, each different one once.

A node's level says which loops it depends on: 0 on none, i on loop i - 1 and perhaps on those
around it. `varies` says whether its lanes belong to different elements.
"""
from .assembler import OPCODES
from .expression_codegen import CompiledExpression

_ADD, _MUL, _MADD = (OPCODES[f"f32x4.{name}"] for name in ("add", "mul", "relaxed_madd"))
MAX_STACK_DEPTH = 24                    # nodes on the stack before one is put into a local


class InstructionGraph:
    """Nodes by number; every argument has a smaller number than what uses it."""

    def __init__(self, relaxed: bool):
        self.relaxed = relaxed
        self.code: list = []                     # bytes of an instruction, or a leaf
        self.args: list[tuple[int, ...]] = []
        self.level: list[int] = []
        self.is_varying: list[bool] = []
        self.after_pass: list[int] = []               # how many stages must be over before
        self.interned: dict = {}

    def add_leaf(self, leaf, level: int, varies: bool, after: int = 0) -> int:
        """A node that reads memory or a local; equal leaves are one node."""
        return self._node(leaf, (), level, varies, after)

    def add_op(self, code: bytes, args: tuple[int, ...] = ()) -> int:
        found = self.interned.get((code, args))
        if found is not None:
            return found
        if self.relaxed and code == _ADD:
            code, args = self.fuse_multiply_add(args)
        return self._node(code, args, max((self.level[a] for a in args), default=0),
                          any(self.is_varying[a] for a in args),
                          max((self.after_pass[a] for a in args), default=0))

    def fuse_multiply_add(self, args: tuple[int, ...]) -> tuple[bytes, tuple[int, ...]]:
        """A sum; with a product in it, which is not the same for a whole loop, one instruction."""
        for x, y in (args, args[::-1]):
            if self.code[x] == _MUL and self.level[x] >= self.level[y]:
                return _MADD, (*self.args[x], y)
        return _ADD, args

    def apply(self, template: CompiledExpression, args: tuple[int, ...]) -> int:
        """A formula over nodes."""
        values = list(args)
        for code, operands in template.code:
            values.append(self.add_op(code, tuple(values[i] for i in operands)))
        return values[template.result]

    def _node(self, code, args, level, varies, after) -> int:
        key = code, args
        if key not in self.interned:
            self.interned[key] = len(self.code)
            self.code.append(code)
            self.args.append(args)
            self.level.append(level)
            self.is_varying.append(varies)
            self.after_pass.append(after)
        return self.interned[key]


def reachable(lanes: InstructionGraph, roots: list[int]) -> list[int]:
    """The nodes that `roots` need, in order."""
    needed = set(roots)
    for node in range(len(lanes.code) - 1, -1, -1):
        if node in needed:
            needed.update(lanes.args[node])
    return sorted(needed)


def choose_locals(lanes: InstructionGraph, nodes: list[int], roots: dict[int, int], keep: set[int]) -> set[int]:
    """Which nodes deserve a local: those used twice, in a deeper loop than their own, by more than
    one copy of an unrolled body, or standing on a tall pile. `roots` gives the level of use."""
    # Constants too: V8 builds one anew at each use. exp of 1 M floats in Chromium took 0.89 ms with
    # them inside the loop and takes 0.64 with them in locals.
    uses, chosen, height = dict.fromkeys(nodes, 0), set(keep), {}
    for node, level in roots.items():
        uses[node] += 1
        if level > lanes.level[node]:
            chosen.add(node)
    for node in nodes:
        for arg in lanes.args[node]:
            uses[arg] += 1
            if lanes.level[arg] < lanes.level[node] or lanes.is_varying[arg] != lanes.is_varying[node]:
                chosen.add(arg)
    for node in nodes:
        height[node] = 1 + max((height[a] for a in lanes.args[node]), default=0)
        if uses[node] > 1 or height[node] > MAX_STACK_DEPTH:
            chosen.add(node)
        if node in chosen:
            height[node] = 0
    return chosen
