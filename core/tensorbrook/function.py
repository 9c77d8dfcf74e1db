"""tf.function: Python code traced into a graph once per signature, and compiled to one program."""
from __future__ import annotations

import functools
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .autodiff import GradientTape
from .backends import Program
from .base import tree
from .base.errors import FailedPreconditionError, InvalidArgumentError
from .base.garbage import collection_paused
from .base.host_array import is_array
from .base.value_keys import value_key
from .compiler.cost_model import prefers_gpu
from .devices import device
from .eager import EAGER
from .ir import Plan, TargetInfo, TensorSpec
from .placement import BackendChain, optimized, plan_for, simplify_for
from .tensor import Tensor, Variable, active_tapes, as_tensor, context, context_stack, tapes_paused
from .trace import Trace, inline_graph

# Sets the storage of a Variable. It is a C function, which `_execute` needs; see there.
_SET_STORAGE = Variable.storage.__set__

# The stacks themselves, which saves a function call per step.
_CONTEXT_STACK, _TAPES = context_stack(), active_tapes()


class ConcreteFunction:
    """One signature of a tf.function: its graph, its captured tensors and its program."""

    def __init__(self, f: Callable, structure, specs: list[TensorSpec | None], leaves: list):
        self.trace = Trace()
        placeholders = [self.trace.placeholder(s) if s else leaf for s, leaf in zip(specs, leaves)]
        # Tapes outside of the function record its call, not the operations in its body.
        with tapes_paused(), context(self.trace):
            args, kwargs = tree.unflatten(structure, placeholders)
            result = f(*args, **kwargs)
            outputs, self.out_structure = tree.flatten(result)
            # For each output (value,) if it is a static Python value, None if it is a tensor.
            self.constants = [
                None if isinstance(o, (Tensor, Variable)) or _is_numeric(o) else (o,)
                for o in outputs
            ]
            tensors = [as_tensor(o) for o, c in zip(outputs, self.constants) if c is None]
        self.graph = self.trace.build_graph(tensors)
        self.out_specs = [t.spec for t in tensors]
        self.captured, self.assigned = self.trace.captured, list(self.trace.assigned_variables)
        # The current chain for which `_program` was selected; None: select in each call.
        self._chain: BackendChain | None = None
        self._program: Any = None
        self._backend: Any = None
        self._programs: dict[BackendChain, Program] = {}
        self._prefers_gpu: bool | None = None
        self._backward: Function | None = None

    @property
    def program(self) -> Program:
        """The program that a call would run under the current placement."""
        self._select_program(self.captured)
        return self._program

    @property
    def plan(self) -> Plan:
        """The plan of the program, for printing. Programs do not keep it, so it is recomputed."""
        program = self.program
        backend = program.backend
        plan = plan_for(simplify_for(self.graph, backend), backend)
        return replace(plan, dispatches=program.dispatches)

    def _select_program(self, operands: list) -> None:
        """Set `_program` to the program for the current placement; compile it on first use."""
        chain = EAGER.select_chain(self.prefers_gpu, operands) if self.trace.device is None else \
            EAGER.chain_for_device(self.trace.device)
        if chain not in self._programs:
            self._programs[chain] = chain.load(self.graph)
        self._program = self._programs[chain]
        self._backend = self._program.backend
        # If the choice depends on the operands, or on the function's own device, it is not cached.
        by_operands = EAGER.chain.gpu is not None and not self._prefers_gpu
        self._chain = None if by_operands or self.trace.device is not None else EAGER.chain

    def prefers_gpu(self, threads: int) -> bool:
        """Whether the cost model favors a GPU over that number of CPU threads; computed once."""
        if self._prefers_gpu is None:
            self._prefers_gpu = prefers_gpu(optimized(self.graph, TargetInfo()), threads)
        return self._prefers_gpu

    def call(self, args: list[Tensor]):
        """Run the function; `args` are the tensors among its arguments, in flattened order."""
        if _TAPES:
            return self._call_with_tapes(args)
        return self._pack_outputs(self._execute(args))

    __call__ = call

    def _execute(self, args: list[Tensor]) -> list[Tensor]:
        """Run the program on arguments and captures, and update the assigned Variables."""
        if self._chain is not EAGER.chain:
            self._select_program([*args, *self.captured])
        backend = self._backend
        storages = [x.storage if x.storage is not None and x.storage.backend is backend
                    else EAGER.storage_on(x, backend) for x in (*args, *self.captured)]
        out = self._program.run(storages)
        if self.assigned:
            # This runs entirely in C, so an interrupt cannot leave some Variables not updated.
            deque(map(_SET_STORAGE, self.assigned, out[len(self.out_specs):]), maxlen=0)
        return [Tensor(spec, storage) for spec, storage in zip(self.out_specs, out)]

    def _pack_outputs(self, outs: list[Tensor]):
        if self.out_structure is None and outs:
            return outs[0]                                 # fast path: the result is one tensor
        results = iter(outs)
        leaves = [next(results) if c is None else c[0] for c in self.constants]
        return tree.unflatten(self.out_structure, leaves)

    # ── gradients ──

    def _call_with_tapes(self, args: list[Tensor]):
        """Run the function, and record it on every active tape as a single operation."""
        inputs = args + [Variable.value(x) if isinstance(x, Variable) else x for x in self.captured]
        outs = self._execute(args)

        def vjp(cotangents):
            return self.backward(inputs, list(cotangents))

        for tape in active_tapes():
            tape.record_function(inputs, outs, vjp)
        return self._pack_outputs(outs)

    @property
    def backward(self) -> Function:
        """The function from inputs and output cotangents to input cotangents."""
        if self._backward is None:
            self._backward = Function(self._vjp)
        return self._backward

    def _vjp(self, inputs: list[Tensor], cotangents: list[Tensor | None]):
        with device(self.trace.device), GradientTape() as tape:
            tape.watch([x for x in inputs if x.dtype.is_floating])
            outs = inline_graph(self.graph, inputs)[:len(cotangents)]
        # An output without a cotangent is excluded: zero times an infinite derivative would be NaN.
        pairs = [(o, g) for o, g in zip(outs, cotangents) if g is not None]
        return tape.gradient([o for o, _ in pairs], inputs, [g for _, g in pairs])


def _is_numeric(x) -> bool:
    return isinstance(x, (bool, int, float)) or is_array(x)


class Function:
    """A Python function that runs as compiled programs, one per signature.

    A signature consists of the structure of the arguments, the shape and dtype of each tensor among
    them, and the value of every other argument.
    """

    # Bound on the cached signatures: a Python number that changes in each call is a new signature
    # each time, and the programs must not exhaust the memory.
    MAX_SIGNATURES = 1024

    def __init__(self, f: Callable, name: str | None = None):
        self._f, self._warned = f, False
        self._cache: dict[tuple, ConcreteFunction] = {}
        # Inline cache: the last call with only tensors as arguments, which a loop repeats.
        self._last_call: tuple[list[TensorSpec], ConcreteFunction | None] = [], None
        functools.update_wrapper(self, f)
        self._name = name or getattr(f, "__name__", "function")

    def __call__(self, *args, **kwargs):
        if _CONTEXT_STACK[-1] is not EAGER:
            return self._f(*args, **kwargs)               # inlined into the enclosing trace
        specs = [a.spec for a in args if type(a) is Tensor]
        only_tensors = len(specs) == len(args) and not kwargs
        last_specs, last = self._last_call
        if only_tensors and last is not None and specs == last_specs:
            return last.call(list(args))
        concrete, tensors = self._concrete(args, kwargs)
        if only_tensors:
            self._last_call = specs, concrete
        return concrete(tensors)

    def __get__(self, instance, owner=None):
        """Bind as a method: each object has a separate Function, which is freed with the object."""
        if instance is None:
            return self
        if not hasattr(instance, "__dict__"):
            return functools.partial(self, instance)
        methods = instance.__dict__.setdefault("_tf_functions", _BoundFunctions())
        if self not in methods:
            methods[self] = Function(self._f.__get__(instance, owner), self._name)
        return methods[self]

    def __reduce__(self):
        # A copy traces again, because it may belong to a copy of the object.
        return Function, (self._f, self._name)

    def _concrete(self, args, kwargs) -> tuple[ConcreteFunction, list[Tensor]]:
        leaves, structure = tree.flatten((args, kwargs))
        leaves = [
            as_tensor(x) if is_array(x) and not isinstance(x, (Tensor, Variable)) else x
            for x in leaves
        ]
        specs = [x.spec if isinstance(x, Tensor) else None for x in leaves]
        key = (structure, *[s or _static_argument_key(x) for s, x in zip(specs, leaves)])
        if key not in self._cache:
            if len(self._cache) >= self.MAX_SIGNATURES:
                self._evict_oldest()
            with collection_paused():
                self._cache[key] = ConcreteFunction(self._f, structure, specs, leaves)
        return self._cache[key], [x for x in leaves if isinstance(x, Tensor)]

    def _evict_oldest(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"tf.function {self._name}: it was compiled for {self.MAX_SIGNATURES} "
                          "signatures; pass a Python number that changes as a tensor: "
                          "tf.constant(n)", RuntimeWarning, stacklevel=4)
        del self._cache[next(iter(self._cache))]

    def get_concrete_function(self, *args, **kwargs) -> ConcreteFunction:
        """Trace and compile the signature of these arguments without a call."""
        return self._concrete(args, kwargs)[0]

    @property
    def plan(self):
        """The plan of the signature that was traced last."""
        if not self._cache:
            raise FailedPreconditionError(
                f"{self._name}.plan", "the function has not been called yet", "call it once first"
            )
        return list(self._cache.values())[-1].plan


class _BoundFunctions(dict):
    """The bound Functions of an object, by Function. A copy of the object starts without them."""

    def __reduce__(self):
        return _BoundFunctions, ()


def _static_argument_key(x):
    """The part of the signature for an argument that is not a tensor: its type and value."""
    key = type(x), value_key(x)
    try:
        hash(key)
    except TypeError:
        raise InvalidArgumentError(
            "tf.function",
            f"argument {x!r} is neither a tensor nor hashable",
            "pass tensors, numbers, strings, or lists and dicts of them",
        ) from None
    return key


def function(func: Callable | None = None, *, name: str | None = None) -> Any:
    """Compile a Python function to one program per signature, as a decorator or by a call.

    >>> @tf.function
    ... def area(r):
    ...     return 3.14159 * r * r
    >>> float(area(tf.constant(2.0)))
    12.56636...
    """
    return (lambda f: Function(f, name)) if func is None else Function(func, name)
