"""GradientTape: records what is bound while it is open, and walks it backwards."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from enum import Enum
from typing import NamedTuple

from ..base import tree
from ..base.errors import FailedPreconditionError, InvalidArgumentError
from ..ir import Primitive
from ..tensor import Tensor, Variable, as_tensor, bind, active_tapes


class UnconnectedGradients(Enum):
    """What the gradient of a target in a source that it does not depend on is."""

    NONE = "none"
    ZERO = "zero"


class _Entry(NamedTuple):
    """One recorded step; `shares` maps the gradients of its outs to those of its args."""

    args: list[Tensor]
    outs: list[Tensor]
    vjp: Callable[[list[Tensor | None]], list[Tensor | None]]


class GradientTape:
    """Records operations for differentiation (reverse mode).

    >>> x = tf.constant(3.0)
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = x * x
    >>> float(tape.gradient(y, x))
    6.0

    Variables are watched when they are read, if they are trainable. Tapes nest, for gradients of
    gradients; a persistent one answers more than once.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True):
        self._persistent, self._watches_variables = persistent, watch_accessed_variables
        self._entries: list[_Entry] = []
        self._watched: dict[int, Tensor] = {}             # by id: tensors that gradients flow to
        self._reads: dict[Variable, list[Tensor]] = {}    # what each Variable was read as
        self._used = False

    def __enter__(self) -> GradientTape:
        if self in active_tapes():
            raise FailedPreconditionError(
                "GradientTape", "it is already recording", "leave it first"
            )
        self._used = False
        active_tapes().append(self)
        return self

    def __exit__(self, *exception) -> None:
        if self in active_tapes():
            active_tapes().remove(self)

    # ── recording ──

    def watch(self, tensor) -> None:
        """Let gradients flow to `tensor`, or to each of a nested structure."""
        for x in tree.flatten(tensor)[0]:
            if isinstance(x, Variable):
                self._reads.setdefault(x, [])
            elif not isinstance(x, Tensor):
                raise InvalidArgumentError(
                    "watch", f"{x!r} is not a tensor", "pass a Tensor or a Variable"
                )
            elif x.dtype.is_floating:
                self._watched[id(x)] = x

    def record(self, prim: Primitive, args: list[Tensor], attrs, out) -> None:
        vjp = prim.vjp
        if vjp is None:
            return
        if isinstance(out, tuple):
            self.record_function(args, list(out), lambda g: vjp(tuple(g), out, *args, **attrs))
        else:
            self.record_function(args, [out], lambda g: vjp(g[0], out, *args, **attrs))

    def record_function(self, args: list[Tensor], outs: list[Tensor], shares) -> None:
        floating = [out for out in outs if out.dtype.is_floating]
        if floating and self._tracks(args):
            self._watched.update((id(out), out) for out in floating)
            self._entries.append(_Entry(args, outs, shares))

    def record_variable_read(self, variable: Variable, value: Tensor) -> None:
        wanted = self._watches_variables and variable.trainable or variable in self._reads
        if wanted and variable.dtype.is_floating:
            self._watched[id(value)] = value
            self._reads.setdefault(variable, []).append(value)

    def _tracks(self, args) -> bool:
        return any(id(a) in self._watched for a in args)

    @contextmanager
    def stop_recording(self):
        """What is computed within the block is not recorded."""
        watching = active_tapes()[:]
        try:
            active_tapes()[:] = [each for each in watching if each is not self]
            yield
        finally:
            active_tapes()[:] = watching

    def reset(self) -> None:
        """Forget all that was recorded."""
        self._entries, self._watched, self._reads = [], {}, {}

    def watched_variables(self) -> tuple[Variable, ...]:
        return tuple(self._reads)

    # ── walking back ──

    def gradient(self, target, sources, output_gradients=None,
                 unconnected_gradients=UnconnectedGradients.NONE):
        """The gradient of the sum of `target` in each of `sources`, in their structure.

        A source that the target does not depend on gets None, or zeros if asked for.
        """
        if self._used and not self._persistent:
            raise FailedPreconditionError(
                "gradient",
                "this tape was already used",
                "make it with tf.GradientTape(persistent=True) to ask more than once",
            )
        self._used = True
        targets, leaves = tree.flatten(target)[0], tree.flatten(sources)
        seeds = (
            [None] * len(targets) if output_gradients is None else tree.flatten(output_gradients)[0]
        )
        if len(seeds) != len(targets):
            raise InvalidArgumentError(
                "gradient", f"{len(seeds)} output_gradients came for {len(targets)} targets",
                "give one for each, or None")
        if self._persistent:
            grads = self._backpropagate(targets, seeds)
        else:
            with self.stop_recording():
                grads = self._backpropagate(targets, seeds)
        found = [
            self._gradient_of(s, grads, UnconnectedGradients(unconnected_gradients))
            for s in leaves[0]
        ]
        if not self._persistent:
            self._entries = []
        return tree.unflatten(leaves[1], found)

    def _backpropagate(self, targets, seeds) -> dict[int, Tensor]:
        """The gradient of the targets in every watched tensor, by the tensor's id."""
        grads: dict[int, Tensor] = {}
        entries = list(self._entries)
        for target, seed in zip(targets, seeds):
            for t in (
                self._reads.get(target, ())[-1:]
                if isinstance(target, Variable)
                else [as_tensor(target)]
            ):
                if not t.dtype.is_floating:
                    raise InvalidArgumentError(
                        "gradient", f"the target holds {t.dtype}", "it must be floating"
                    )
                _accumulate(grads, t, _ones_like(t) if seed is None else _checked_cotangent(seed, t))
        for entry in reversed(entries):
            g = [grads.get(id(out)) for out in entry.outs]
            if all(one is None for one in g):
                continue
            for arg, share in zip(entry.args, entry.vjp(g)):
                if share is not None and id(arg) in self._watched:
                    _accumulate(grads, arg, share)
        return grads

    def _gradient_of(self, source, grads, unconnected) -> Tensor | None:
        values = self._reads.get(source, []) if isinstance(source, Variable) else [source]
        parts = [grads[id(v)] for v in values if id(v) in grads]
        if parts:
            total = parts[0]
            for part in parts[1:]:
                total = bind("add", total, part)
            return total
        if unconnected is UnconnectedGradients.NONE:
            return None
        return bind("broadcast_to", as_tensor(0, source.dtype), shape=tuple(source.shape))

    def jacobian(self, target, sources):
        """The derivative of every element of `target` in every element of the source, of shape
        target.shape + source.shape. Needs a persistent tape."""
        target = as_tensor(target)
        count = target.spec.count
        leaves, structure = tree.flatten(sources)
        rows: list[list] = [[] for _ in leaves]
        for i in range(count):
            seed = bind(
                "reshape",
                bind(
                    "cast",
                    bind("equal", bind("iota", shape=(count,), axis=0), i),
                    dtype=target.dtype,
                ),
                shape=tuple(target.shape),
            )
            found = self.gradient(target, leaves, [seed], UnconnectedGradients.ZERO)
            for row, g in zip(rows, found):
                row.append(bind("reshape", g, shape=(1, *g.shape)))
        joined = [bind("concat", *row, axis=0) for row in rows]
        shaped = [
            bind("reshape", j, shape=(*target.shape, *s.shape)) for j, s in zip(joined, leaves)
        ]
        return tree.unflatten(structure, shaped)


def _accumulate(grads: dict[int, Tensor], tensor: Tensor, share: Tensor) -> None:
    had = grads.get(id(tensor))
    grads[id(tensor)] = share if had is None else bind("add", had, share)


def _checked_cotangent(seed, target: Tensor) -> Tensor:
    """A gradient that was given for a target, whose shape and dtype it must have."""
    g = as_tensor(seed, None if isinstance(seed, (Tensor, Variable)) else target.dtype)
    if g.spec != target.spec:
        raise InvalidArgumentError(
            "gradient", f"output_gradients holds {g.spec} for a target that is {target.spec}",
            "shape and dtype must be the target's")
    return g


def _ones_like(t: Tensor) -> Tensor:
    return bind("broadcast_to", as_tensor(1, t.dtype), shape=tuple(t.shape))

