"""The lines of a generated kernel: values of a Loop, where they are loaded from and stored to."""
from collections.abc import Mapping
from dataclasses import dataclass

from ...base.dtypes import DType
from ...base.views import View
from ...ir import ElementwiseOp, Atom, IndexValue, Load, LoopKernel, FiniteCheckStore, ScalarConstant, Store
from .expression_codegen import TYPES, WgslExpression, library_source_for, literal, render_expression
from .shader_dispatch import WGSL_TYPES

VEC4 = 4                                 # elements of a vec4
# What leaves a float16 that float16 holds: the others' results are rounded, so that a value is the
# same whether it comes from memory or not.
FLOAT16_EXACT = frozenset({"x", "-x", "abs(x)", "max(x, y)", "min(x, y)", "max(x, 0)", "select(x, y, z)",
                   "sign(x)", "floor(x)", "ceil(x)", "round(x)"})


@dataclass(frozen=True)
class LoopIndex:
    """The index along an axis: `scale * name`, and `copy` more for a copy along this axis."""

    name: str
    scale: int = 1
    copied: bool = False


class WgslEmitter:
    """Collects lines. `counters` has one for each axis of the loop's space; None where the axis is
    not walked at the moment. Along the axis whose counter is copied, `copies` neighbours are taken
    by one invocation. `wide` are the buffers of which they are one vec4."""

    def __init__(self, loop: LoopKernel, copies: int = 1, wide: frozenset = frozenset(),
                 name: str = "b{}"):
        self.loop, self.unroll, self.vec4_buffers = loop, copies, wide
        self.names: dict[Atom, str] = {}
        self.dtypes: dict[Atom, DType] = {}
        self.counters: list[LoopIndex] = []
        self.value_names: dict[tuple[int, int], str] = {}      # (value, copy) -> its WGSL name
        self.provided: Mapping[Atom, list[str]] = {}        # elements that are at hand, by copy
        self.lines: list[str] = []
        self.depth = 1
        self.subgroups = False                           # whether invocations shuffle values
        for value in loop.values:
            if isinstance(value, Load):
                self.dtypes[value.source] = value.source.spec.dtype
        for store in loop.stores:
            self.dtypes[store.target] = store.target.spec.dtype
        for atom in self.dtypes:
            self.names[atom] = name.format(len(self.names))

    # ── lines ──

    def line(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)

    def open(self, text: str) -> None:
        self.line(text + " {")
        self.depth += 1

    def close(self) -> None:
        self.depth -= 1
        self.line("}")

    def split_index(self, name: str, sizes: list[int], prefix: str) -> list[str]:
        """Lines that take a counter apart into one for each size, the last fastest; their names."""
        names, rest = ["0u"] * len(sizes), name
        walked = [i for i, n in enumerate(sizes) if n > 1]
        for at in reversed(walked):
            if at == walked[0]:
                names[at] = rest
                break
            names[at] = f"{prefix}{at}"
            self.line(f"let {names[at]} = {rest} % {sizes[at]}u;")
            self.line(f"let {prefix}{at}_rest = {rest} / {sizes[at]}u;")
            rest = f"{prefix}{at}_rest"
        return names

    # ── places ──

    def element_index(self, view: View, copy: int, divide: int = 1) -> str:
        """Where an element lies, or the vec4 it begins."""
        offset, terms = view.offset, []
        for stride, counter in zip(view.strides, self.counters, strict=True):
            offset += stride * copy * counter.copied
            step = stride * counter.scale
            assert step % divide == 0, "a vec4 lies askew"
            if step and counter.name != "0u":
                terms.append((step // divide, counter.name))
        return _sum(offset // divide, terms)

    def load(self, value: Load, copy: int) -> str:
        return load_expression(f"{self.names[value.source]}[{self.element_index(value.view, copy)}]", value)

    def store(self, store: Store) -> None:
        """All copies of a value."""
        dtype, name = self.dtypes[store.target], self.names[store.target]
        texts = [self.text(store.value, copy) for copy in range(self.unroll)]
        if store.target in self.vec4_buffers:
            kind = f"vec4<{WGSL_TYPES[dtype.name]}>"
            fours = ", ".join(to_storage(text, dtype) for text in texts)
            self.line(f"{name}[{self.element_index(store.view, 0, VEC4)}] = {kind}({fours});")
            return
        for copy, text in enumerate(texts):
            self.store_element(store, copy, text)

    def store_element(self, store: Store, copy: int, text: str) -> None:
        """One element."""
        if isinstance(store, FiniteCheckStore):
            # All that write it write the same, so the order in which they do does not matter.
            flag = f"&{self.names[store.target]}[0]"
            self.line(f"if (!is_finite({text})) {{ atomicStore({flag}, 0u); }}")
            return
        dtype, name = self.dtypes[store.target], self.names[store.target]
        self.line(f"{name}[{self.element_index(store.view, copy)}] = {to_storage(text, dtype)};")

    # ── values ──

    def text(self, i: int, copy: int) -> str:
        return self.value_names.get((i, copy)) or self.value_names[i, 0]

    def compute(self, i: int, varies: bool) -> None:
        """Value i for all copies, or one for all of them."""
        value = self.loop.values[i]
        if isinstance(value, Load) and value.source in self.provided:
            self.value_names |= {(i, copy): round_to_dtype(text, value.source.spec.dtype)
                           for copy, text in enumerate(self.provided[value.source])}
            return
        if isinstance(value, Load) and varies and value.source in self.vec4_buffers:
            self.line(f"let v{i} = {self.names[value.source]}[{self.element_index(value.view, 0, VEC4)}];")
            for copy, part in enumerate("xyzw"):
                self.value_names[i, copy] = load_expression(f"v{i}.{part}", value)
            return
        for copy in range(self.unroll if varies else 1):
            name = f"v{i}_{copy}" if varies and self.unroll > 1 else f"v{i}"
            self.line(f"let {name} = {self.expression(value, copy)};")
            self.value_names[i, copy] = name

    def expression(self, value, copy: int) -> str:
        match value:
            case Load():
                return self.load(value, copy)
            case ScalarConstant():
                return literal(value.value, value.dtype.kind)
            case IndexValue():
                return self.count(value, copy)
            case ElementwiseOp():
                return self.apply(value, copy)
        raise AssertionError(f"{value} is not a value of a body")

    def count(self, value: IndexValue, copy: int) -> str:
        begin, terms = value.offset, []
        for weight, counter in zip(value.strides, self.counters, strict=True):
            begin += weight * copy * counter.copied
            if weight and counter.name != "0u":
                terms.append((weight * counter.scale, counter.name))
        return f"bitcast<i32>({_sum(begin, terms)})"

    def apply(self, value: ElementwiseOp, copy: int) -> str:
        args = [self.loop.values[i] for i in value.args]
        terms = [WgslExpression(self.text(i, copy), arg.dtype.kind,
                      arg.value if isinstance(arg, ScalarConstant) else None)
                 for i, arg in zip(value.args, args)]
        text = render_expression(value.expression, terms, value.dtype.kind)
        exact = value.expression in FLOAT16_EXACT or value.expression == "cast(x)" and args[0].dtype.is_bool
        return text if exact else round_to_dtype(text, value.dtype)

    # ── the module ──

    def module(self, declarations: str, arguments: str, size: int) -> str:
        """The whole text: what is declared, the library, and the lines as `main`."""
        buffers = [self.declaration_of(n, atom) for n, atom in enumerate(self.names)]
        main = [f"@compute @workgroup_size({size})", f"fn main({arguments}) {{", *self.lines, "}"]
        wanted = {"f16": self.uses_float16, "subgroups": self.subgroups}
        enable = [f"enable {name};" for name, holds in wanted.items() if holds]
        library = self.library(declarations)
        blocks = ["\n".join(lines) + "\n" for lines in (enable, buffers) if lines]
        blocks += [text for text in (declarations, library) if text]
        return "\n".join([*blocks, "\n".join(main) + "\n"])

    def library(self, more: str = "") -> str:
        """What the lines use of functions.wgsl."""
        return library_source_for("\n".join(self.lines) + more)

    @property
    def uses_float16(self) -> bool:
        """Whether float16 is in its buffers, or what a value is rounded to on its way."""
        dtypes = [*self.dtypes.values(), *(value.dtype for value in self.loop.values)]
        return any(dtype.name == "float16" for dtype in dtypes)

    def declaration_of(self, number: int, atom: Atom) -> str:
        kind = WGSL_TYPES[self.dtypes[atom].name]
        kind = f"vec4<{kind}>" if atom in self.vec4_buffers else kind
        marks = any(isinstance(s, FiniteCheckStore) and s.target is atom for s in self.loop.stores)
        kind = f"atomic<{kind}>" if marks else kind
        access = "read_write" if atom in self.loop.writes else "read"
        return declaration(number, self.names[atom], kind, access)

    def buffers(self) -> dict[str, Atom]:
        return {name: atom for atom, name in self.names.items()}


def declaration(number: int, name: str, kind: str, access: str) -> str:
    return f"@group(0) @binding({number}) var<storage, {access}> {name}: array<{kind}>;"


def from_storage(text: str, dtype: DType) -> str:
    """An element as it is computed with."""
    if dtype.is_bool:
        return f"({text} != 0u)"
    return f"f32({text})" if dtype.name == "float16" else text


def round_to_dtype(text: str, dtype: DType) -> str:
    """A result as an element of its dtype."""
    return f"to_half({text})" if dtype.name == "float16" else text


def load_expression(text: str, value: Load) -> str:
    """An element from memory, rounded where the load is also its cast to float16."""
    text = from_storage(text, value.source.spec.dtype)
    return text if value.dtype is value.source.spec.dtype else round_to_dtype(text, value.dtype)


def to_storage(text: str, dtype: DType) -> str:
    if dtype.is_bool:
        return f"u32({text})"
    return f"f16({text})" if dtype.name == "float16" else text


def register_type(dtype: DType) -> str:
    """The type of a variable that holds an element."""
    return TYPES[dtype.kind]


def subgroup_shuffle(text: str, dtype: DType, distance: str) -> str:
    """What the invocation of a subgroup whose number differs in these bits has of a variable."""
    if dtype.is_bool:
        return f"subgroupShuffleXor(u32({text}), {distance}) != 0u"
    return f"subgroupShuffleXor({text}, {distance})"


def _sum(offset: int, terms: list[tuple[int, str]]) -> str:
    """offset + the sum of steps times names, as u32, which wraps where it goes below 0."""
    texts = []
    for step, name in terms:
        size = name if abs(step) == 1 else f"{name} * {abs(step)}u"
        texts.append((" - " if step < 0 else " + ") + size)
    texts.sort(key=lambda text: text.startswith(" - "))
    start = "" if offset == 0 and texts and texts[0].startswith(" + ") else f"{offset % 2**32}u"
    return (start + "".join(texts)) if start else "".join(texts)[3:]
