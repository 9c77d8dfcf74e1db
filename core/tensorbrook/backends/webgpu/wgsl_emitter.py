"""WGSL emitter: the text of a generated loop kernel: indices, loads, values and stores."""
from collections.abc import Mapping
from dataclasses import dataclass

from ...base.dtypes import DType
from ...base.views import View
from ...ir import (Atom, ElementwiseOp, FiniteCheckStore, IndexValue, Load, LoopKernel,
                   ScalarConstant, Store)
from ...ir.scalar_expression import scalar_expression
from .expression_codegen import (TYPES, WgslExpression, library_source_for, literal,
                                 render_expression)
from .shader_dispatch import WGSL_TYPES

VEC4 = 4                                 # elements of a vec4
# Expressions whose float16 results need no rounding. Every other float16 result is rounded, so that
# a value is the same whether or not it was stored in memory.
FLOAT16_EXACT = frozenset(map(scalar_expression, (
    "x", "-x", "abs(x)", "max(x, y)", "min(x, y)", "max(x, 0)", "select(x, y, z)", "sign(x)",
    "floor(x)", "ceil(x)", "round(x)")))


@dataclass(frozen=True)
class LoopIndex:
    """The index along an axis: `scale * name`, plus the position of the element if the axis is
    unrolled."""

    name: str
    scale: int = 1
    unrolled: bool = False


class WgslEmitter:
    """Collects the lines of a kernel. `indices` has an index for each axis of the iteration space.

    An invocation computes `unroll` consecutive elements along the axis whose index is unrolled.
    `vec4_buffers` are the buffers in which these elements are one vec4."""

    def __init__(self, loop: LoopKernel, unroll: int = 1, vec4_buffers: frozenset = frozenset(),
                 name: str = "b{}"):
        self.loop, self.unroll, self.vec4_buffers = loop, unroll, vec4_buffers
        self.names: dict[Atom, str] = {}
        self.dtypes: dict[Atom, DType] = {}
        self.indices: list[LoopIndex] = []
        self.value_names: dict[tuple[int, int], str] = {}      # (value, element) -> WGSL text
        self.provided: Mapping[Atom, list[str]] = {}        # texts of elements that need no load
        self.lines: list[str] = []
        self.depth = 1
        self.uses_subgroups = False
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
        """Emit the decomposition of a linear index into one index per size, the last fastest;
        return their names."""
        names, outer = ["0u"] * len(sizes), name
        axes = [axis for axis, n in enumerate(sizes) if n > 1]
        for axis in reversed(axes):
            if axis == axes[0]:
                names[axis] = outer
                break
            names[axis] = f"{prefix}{axis}"
            self.line(f"let {names[axis]} = {outer} % {sizes[axis]}u;")
            self.line(f"let {prefix}{axis}_outer = {outer} / {sizes[axis]}u;")
            outer = f"{prefix}{axis}_outer"
        return names

    # ── loads and stores ──

    def element_index(self, view: View, element: int, width: int = 1) -> str:
        """The index of an element, or with width 4 that of the vec4 that begins at it."""
        offset, terms = view.offset, []
        for stride, index in zip(view.strides, self.indices, strict=True):
            offset += stride * element * index.unrolled
            step = stride * index.scale
            assert step % width == 0, "a vec4 is misaligned"
            if step and index.name != "0u":
                terms.append((step // width, index.name))
        return _sum(offset // width, terms)

    def load(self, value: Load, element: int) -> str:
        index = self.element_index(value.view, element)
        return load_expression(f"{self.names[value.source]}[{index}]", value)

    def store(self, store: Store) -> None:
        """Emit the store of all elements of a value."""
        dtype, name = self.dtypes[store.target], self.names[store.target]
        texts = [self.value_text(store.value, element) for element in range(self.unroll)]
        if store.target in self.vec4_buffers:
            vec4 = f"vec4<{WGSL_TYPES[dtype.name]}>"
            elements = ", ".join(to_storage(text, dtype) for text in texts)
            index = self.element_index(store.view, 0, VEC4)
            self.line(f"{name}[{index}] = {vec4}({elements});")
            return
        for element, text in enumerate(texts):
            self.store_element(store, element, text)

    def store_element(self, store: Store, element: int, text: str) -> None:
        if isinstance(store, FiniteCheckStore):
            # All invocations store the same value, so their order does not matter.
            flag = f"&{self.names[store.target]}[0]"
            self.line(f"if (!is_finite({text})) {{ atomicStore({flag}, 0u); }}")
            return
        dtype, name = self.dtypes[store.target], self.names[store.target]
        self.line(f"{name}[{self.element_index(store.view, element)}] = "
                  f"{to_storage(text, dtype)};")

    # ── values ──

    def value_text(self, i: int, element: int) -> str:
        return self.value_names.get((i, element)) or self.value_names[i, 0]

    def compute(self, i: int, varies: bool) -> None:
        """Emit value i for each element, or once if it does not vary among them."""
        value = self.loop.values[i]
        if isinstance(value, Load) and value.source in self.provided:
            self.value_names |= {(i, element): round_to_dtype(text, value.source.spec.dtype)
                                 for element, text in enumerate(self.provided[value.source])}
            return
        if isinstance(value, Load) and varies and value.source in self.vec4_buffers:
            index = self.element_index(value.view, 0, VEC4)
            self.line(f"let v{i} = {self.names[value.source]}[{index}];")
            for element, component in enumerate("xyzw"):
                self.value_names[i, element] = load_expression(f"v{i}.{component}", value)
            return
        for element in range(self.unroll if varies else 1):
            name = f"v{i}_{element}" if varies and self.unroll > 1 else f"v{i}"
            self.line(f"let {name} = {self.value_expression(value, element)};")
            self.value_names[i, element] = name

    def value_expression(self, value, element: int) -> str:
        match value:
            case Load():
                return self.load(value, element)
            case ScalarConstant():
                return literal(value.value, value.dtype.kind)
            case IndexValue():
                return self.index_value(value, element)
            case ElementwiseOp():
                return self.elementwise(value, element)
        raise AssertionError(f"{value} is not an elementwise value")

    def index_value(self, value: IndexValue, element: int) -> str:
        offset, terms = value.offset, []
        for stride, index in zip(value.strides, self.indices, strict=True):
            offset += stride * element * index.unrolled
            if stride and index.name != "0u":
                terms.append((stride * index.scale, index.name))
        return f"bitcast<i32>({_sum(offset, terms)})"

    def elementwise(self, value: ElementwiseOp, element: int) -> str:
        args = [self.loop.values[i] for i in value.args]
        expressions = [WgslExpression(self.value_text(i, element), arg.dtype.kind,
                                      arg.value if isinstance(arg, ScalarConstant) else None)
                       for i, arg in zip(value.args, args)]
        text = render_expression(value.expression, expressions, value.dtype.kind)
        exact = value.expression in FLOAT16_EXACT or \
            value.expression.is_cast and args[0].dtype.is_bool
        return text if exact else round_to_dtype(text, value.dtype)

    # ── the module ──

    def module(self, declarations: str, parameters: str, workgroup_size: int) -> str:
        """Return the module: extensions, buffers, `declarations`, the library and `main`."""
        buffers = [self.declaration_of(n, atom) for n, atom in enumerate(self.names)]
        main = [f"@compute @workgroup_size({workgroup_size})", f"fn main({parameters}) {{",
                *self.lines, "}"]
        extensions = {"f16": self.uses_float16, "subgroups": self.uses_subgroups}
        enables = [f"enable {name};" for name, is_used in extensions.items() if is_used]
        library = self.library(declarations)
        blocks = ["\n".join(lines) + "\n" for lines in (enables, buffers) if lines]
        blocks += [text for text in (declarations, library) if text]
        return "\n".join([*blocks, "\n".join(main) + "\n"])

    def library(self, declarations: str = "") -> str:
        """The declarations of functions.wgsl that the lines and `declarations` use."""
        return library_source_for("\n".join(self.lines) + declarations)

    @property
    def uses_float16(self) -> bool:
        """Whether a buffer or a value has dtype float16."""
        dtypes = [*self.dtypes.values(), *(value.dtype for value in self.loop.values)]
        return any(dtype.name == "float16" for dtype in dtypes)

    def declaration_of(self, binding: int, atom: Atom) -> str:
        kind = WGSL_TYPES[self.dtypes[atom].name]
        kind = f"vec4<{kind}>" if atom in self.vec4_buffers else kind
        is_flag = any(isinstance(s, FiniteCheckStore) and s.target is atom
                      for s in self.loop.stores)
        kind = f"atomic<{kind}>" if is_flag else kind
        access = "read_write" if atom in self.loop.writes else "read"
        return f"@group(0) @binding({binding}) var<storage, {access}> {self.names[atom]}: " \
            f"array<{kind}>;"

    def buffers(self) -> dict[str, Atom]:
        return {name: atom for atom, name in self.names.items()}


def from_storage(text: str, dtype: DType) -> str:
    """Convert an element from its type in a buffer to its type in a register."""
    if dtype.is_bool:
        return f"({text} != 0u)"
    return f"f32({text})" if dtype.name == "float16" else text


def to_storage(text: str, dtype: DType) -> str:
    """Convert an element from its type in a register to its type in a buffer."""
    if dtype.is_bool:
        return f"u32({text})"
    return f"f16({text})" if dtype.name == "float16" else text


def round_to_dtype(text: str, dtype: DType) -> str:
    """Round a result that is computed in float32 to its dtype."""
    return f"round_to_f16({text})" if dtype.name == "float16" else text


def load_expression(text: str, value: Load) -> str:
    """Convert a loaded element, and round it if the load is also a cast to float16."""
    text = from_storage(text, value.source.spec.dtype)
    return text if value.dtype is value.source.spec.dtype else round_to_dtype(text, value.dtype)


def register_type(dtype: DType) -> str:
    """The WGSL type of a variable that holds an element."""
    return TYPES[dtype.kind]


def subgroup_shuffle(text: str, dtype: DType, mask: str) -> str:
    """The value of a variable in the subgroup's invocation whose index is XORed with `mask`."""
    if dtype.is_bool:
        return f"subgroupShuffleXor(u32({text}), {mask}) != 0u"
    return f"subgroupShuffleXor({text}, {mask})"


def _sum(offset: int, terms: list[tuple[int, str]]) -> str:
    """Render offset + the sum of step * name as u32, which wraps around below 0."""
    texts = []
    for step, name in terms:
        product = name if abs(step) == 1 else f"{name} * {abs(step)}u"
        texts.append((" - " if step < 0 else " + ") + product)
    texts.sort(key=lambda text: text.startswith(" - "))
    first = "" if offset == 0 and texts and texts[0].startswith(" + ") else f"{offset % 2**32}u"
    return (first + "".join(texts)) if first else "".join(texts)[3:]
