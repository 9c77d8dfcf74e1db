"""tf.function: Python code, traced once for each signature into one program."""
from __future__ import annotations

import functools
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .base import tree
from .base.errors import FailedPreconditionError, InvalidArgumentError
from .base.host_array import is_array
from .autodiff import GradientTape
from .backends import Program
from .compiler import simplify
from .compiler.cost_model import prefers_gpu
from .devices import device
from .eager import EAGER
from .ir import Plan, TensorSpec
from .placement import BackendChain, plan_for, simplify_for
from .tensor import Tensor, Variable, as_tensor, context, context_stack, active_tapes, tapes_paused
from .trace import Trace, inline_graph

# Puts a storage into a Variable, as an assignment does; a C function, for `_run`.
_SET_STORAGE = Variable.storage.__set__

# The lists themselves, so that a call need not ask for them.
_CONTEXTS, _OBSERVERS = context_stack(), active_tapes()


class ConcreteFunction:
    """One signature of a function: a graph, its program, and what it captured."""

    def __init__(self, f: Callable, structure, specs: list[TensorSpec | None], leaves: list):
        self.trace = Trace()
        placeholders = [self.trace.placeholder(s) if s else leaf for s, leaf in zip(specs, leaves)]
        # A tape outside of the function sees its call, not its inside.
        with tapes_paused(), context(self.trace):
            args, kwargs = tree.unflatten(structure, placeholders)
            result = f(*args, **kwargs)
            outputs, self.out_structure = tree.flatten(result)
            self.constants = [
                None if isinstance(o, (Tensor, Variable)) or _is_number(o) else (o,)
                for o in outputs
            ]
            tensors = [as_tensor(o) for o, c in zip(outputs, self.constants) if c is None]
        self.graph = self.trace.build_graph(tensors)
        self.out_specs = [t.spec for t in tensors]
        self.captured, self.assigned = self.trace.captured, list(self.trace.assigned_variables)
        self._chain: BackendChain | None = None         # the one that `_program` was placed by, on `_on`
        self._program: Any = None
        self._backend: Any = None
        self._programs: dict[BackendChain, Program] = {}
        self._wants_gpu: bool | None = None
        self._backward: Function | None = None

    @property
    def program(self) -> Program:
        """The program where it would run now."""
        self._select_program(self.captured)
        return self._program

    @property
    def plan(self) -> Plan:
        """How the program goes about it, for people: made anew, as programs do not keep theirs."""
        program = self.program
        on = program.backend
        return replace(plan_for(simplify_for(self.graph, on), on), dispatches=program.dispatches)

    def _select_program(self, held: list) -> None:
        """Find the program for the way that things go now, or make it."""
        chosen = EAGER.select_chain(self.prefers_gpu, held) if self.trace.device is None else \
            EAGER.chain_for_device(self.trace.device)
        if chosen not in self._programs:
            self._programs[chosen] = chosen.load(self.graph)
        self._program = self._programs[chosen]
        self._backend = self._program.backend
        # Where it follows what it takes, or goes its own way, it is placed anew in each call.
        follows = EAGER.chain.gpu is not None and not self._wants_gpu
        self._chain = None if follows or self.trace.device is not None else EAGER.chain

    def prefers_gpu(self, threads: int) -> bool:
        """Whether it is large enough for a GPU; asked only where there may be one."""
        if self._wants_gpu is None:
            self._wants_gpu = prefers_gpu(simplify(self.graph), threads)
        return self._wants_gpu

    def call(self, args: list[Tensor]):
        """What the function returns for these arguments."""
        if _OBSERVERS:
            return self._call_with_tapes(args)
        return self._pack_outputs(self._execute(args))

    __call__ = call

    def _execute(self, args: list[Tensor]) -> list[Tensor]:
        """Run the program: arguments and captures go in, results come out; Variables change."""
        if self._chain is not EAGER.chain:
            self._select_program([*args, *self.captured])
        backend = self._backend
        storages = [held.storage if held.storage is not None and held.storage.backend is backend
                    else EAGER.storage_on(held, backend) for held in (*args, *self.captured)]
        out = self._program.run(storages)
        if self.assigned:
            # In one go, which no interrupt divides: all Variables take the step, or none.
            deque(map(_SET_STORAGE, self.assigned, out[len(self.out_specs):]), maxlen=0)
        return [Tensor(spec, storage) for spec, storage in zip(self.out_specs, out)]

    def _pack_outputs(self, outs: list[Tensor]):
        if self.out_structure is None and outs:
            return outs[0]                                 # one tensor, as most steps return
        results = iter(outs)
        leaves = [next(results) if c is None else c[0] for c in self.constants]
        return tree.unflatten(self.out_structure, leaves)

    # ── under a tape ──

    def _call_with_tapes(self, args: list[Tensor]):
        """Run it, and tell every tape how to walk back through it."""
        inputs = args + [
            Variable.value(held) if isinstance(held, Variable) else held for held in self.captured
        ]
        outs = self._execute(args)

        def shares(gradients):
            return self.backward(inputs, list(gradients))

        for observer in active_tapes():
            observer.record_function(inputs, outs, shares)
        return self._pack_outputs(outs)

    @property
    def backward(self) -> Function:
        """The gradients of the inputs, given the inputs and the gradients of the results."""
        if self._backward is None:
            self._backward = Function(self._vjp)
        return self._backward

    def _vjp(self, inputs: list[Tensor], gradients: list[Tensor | None]):
        with device(self.trace.device), GradientTape() as tape:
            tape.watch([x for x in inputs if x.dtype.is_floating])
            outs = inline_graph(self.graph, inputs)[:len(gradients)]
        # A result without a gradient takes no part: its slopes may be infinite, and 0 of them NaN.
        pairs = [(o, g) for o, g in zip(outs, gradients) if g is not None]
        return tape.gradient([o for o, _ in pairs], inputs, [g for _, g in pairs])


def _is_number(x) -> bool:
    return isinstance(x, (bool, int, float)) or is_array(x)


class Function:
    """A Python function that runs as one compiled program, one for each signature it meets.

    A signature is the structure of the arguments, the shape and dtype of each tensor among them,
    and the value of everything else.
    """

    # How many signatures are kept, the latest: a number that changes with each call makes a program
    # each time, and these must not fill the memory.
    MAX_SIGNATURES = 1024

    def __init__(self, f: Callable, name: str | None = None):
        self._f, self._warned = f, False
        self._cache: dict[tuple, ConcreteFunction] = {}
        # The last call whose arguments were tensors and nothing else: a loop makes the same again.
        self._last_call: tuple[list[TensorSpec], ConcreteFunction | None] = [], None
        functools.update_wrapper(self, f)
        self._name = name or getattr(f, "__name__", "function")

    def __call__(self, *args, **kwargs):
        if _CONTEXTS[-1] is not EAGER:
            return self._f(*args, **kwargs)               # within another trace: part of it
        specs = [a.spec for a in args if type(a) is Tensor]
        plain = len(specs) == len(args) and not kwargs
        last_specs, last = self._last_call
        if plain and last is not None and specs == last_specs:
            return last.call(list(args))
        concrete, tensors = self._concrete(args, kwargs)
        if plain:
            self._last_call = specs, concrete
        return concrete(tensors)

    def __get__(self, instance, owner=None):
        """As a method: a function of its own for each object, which keeps it, so that its programs
        go when the object does."""
        if instance is None:
            return self
        if not hasattr(instance, "__dict__"):
            return functools.partial(self, instance)
        methods = instance.__dict__.setdefault("_tf_functions", _BoundFunctions())
        if self not in methods:
            methods[self] = Function(self._f.__get__(instance, owner), self._name)
        return methods[self]

    def __reduce__(self):
        # A copy traces anew: it may belong to a copy of the object that this one belongs to.
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
            self._cache[key] = ConcreteFunction(self._f, structure, specs, leaves)
        return self._cache[key], [x for x in leaves if isinstance(x, Tensor)]

    def _evict_oldest(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"tf.function {self._name}: it met {self.MAX_SIGNATURES} signatures, and "
                          "each is compiled; pass numbers that change as tensors: tf.constant(n)",
                          RuntimeWarning, stacklevel=4)
        del self._cache[next(iter(self._cache))]

    def get_concrete_function(self, *args, **kwargs) -> ConcreteFunction:
        return self._concrete(args, kwargs)[0]

    @property
    def plan(self):
        """The plan of the one signature traced so far, or of the last of them."""
        if not self._cache:
            raise FailedPreconditionError(
                f"{self._name}.plan", "it has not been called yet", "call it once first"
            )
        return list(self._cache.values())[-1].plan


class _BoundFunctions(dict):
    """The functions that an object's methods are; a copy of the object begins without any."""

    def __reduce__(self):
        return _BoundFunctions, ()


def _static_argument_key(x):
    """What makes a Python argument the same one: its value if it can be a key, else the object."""
    try:
        hash(x)
    except TypeError:
        raise InvalidArgumentError(
            "tf.function",
            f"argument {x!r} is neither a tensor nor hashable",
            "pass tensors, numbers, strings, or lists and dicts of them",
        ) from None
    # 0.0 and -0.0 are equal, and not the same.
    return type(x), repr(x) if isinstance(x, float) else x


def function(func: Callable | None = None, *, name: str | None = None) -> Any:
    """Compile a Python function into one program, as a decorator or a call.

    >>> @tf.function
    ... def area(r):
    ...     return 3.14159 * r * r
    >>> float(area(tf.constant(2.0)))
    12.56636...
    """
    return (lambda f: Function(f, name)) if func is None else Function(func, name)
