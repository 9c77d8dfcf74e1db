"""GradientTape: records primitives, and backpropagates through the record in reverse order."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from enum import Enum
from typing import NamedTuple

from ..base import tree
from ..base.errors import FailedPreconditionError, InvalidArgumentError
from ..ir import Primitive
from ..tensor import Tensor, Variable, active_tapes, as_tensor, bind


class UnconnectedGradients(Enum):
    """The gradient with respect to a source on which the target does not depend."""

    NONE = "none"
    ZERO = "zero"


class _Entry(NamedTuple):
    """A recorded operation; `vjp` maps the cotangents of `outs` to the cotangents of `args`."""

    args: list[Tensor]
    outs: list[Tensor]
    vjp: Callable[[list[Tensor | None]], list[Tensor | None]]


class GradientTape:
    """Records operations for reverse-mode differentiation.

    >>> x = tf.constant(3.0)
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = x * x
    >>> float(tape.gradient(y, x))
    6.0

    Trainable Variables are watched when they are read. Tapes nest, for higher-order gradients. A
    persistent tape can compute several gradients.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True):
        self._persistent, self._watches_variables = persistent, watch_accessed_variables
        self._entries: list[_Entry] = []
        self._watched: dict[int, Tensor] = {}             # by id: tensors with a gradient
        self._reads: dict[Variable, list[Tensor]] = {}    # the values that were read
        self._used = self._entered = self._recording = False

    def __enter__(self) -> GradientTape:
        if self in active_tapes():
            raise InvalidArgumentError(
                "GradientTape", "it is already recording", "leave it first"
            )
        self._used, self._entered, self._recording = False, True, True
        active_tapes().append(self)
        return self

    def __exit__(self, *exception) -> None:
        self._recording = False
        if self in active_tapes():
            active_tapes().remove(self)

    # ── recording ──

    def watch(self, tensor) -> None:
        """Compute gradients with respect to `tensor`, or to each tensor of a nested structure."""
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

    def record_function(self, args: list[Tensor], outs: list[Tensor], vjp) -> None:
        """Record a call with several operations, such as a tf.function, as one operation."""
        floating = [out for out in outs if out.dtype.is_floating]
        if floating and self._tracks(args):
            self._watched.update((id(out), out) for out in floating)
            self._entries.append(_Entry(args, outs, vjp))

    def record_variable_read(self, variable: Variable, value: Tensor) -> None:
        is_watched = self._watches_variables and variable.trainable or variable in self._reads
        if is_watched and variable.dtype.is_floating:
            self._watched[id(value)] = value
            self._reads.setdefault(variable, []).append(value)

    def _tracks(self, args) -> bool:
        return any(id(a) in self._watched for a in args)

    @contextmanager
    def stop_recording(self):
        """A context manager that pauses the recording. The tape must be recording."""
        if not self._entered or self._used and not self._persistent:
            raise FailedPreconditionError(
                "stop_recording", "the tape is not recording",
                "call it within `with tape:`, before the gradient of a tape that is not persistent")
        self._require_recording("stop_recording")
        try:
            self._recording = False
            with self._removed_from_active_tapes():
                yield
        finally:
            self._recording = True

    @contextmanager
    def _removed_from_active_tapes(self):
        tapes = active_tapes()[:]
        try:
            active_tapes()[:] = [tape for tape in tapes if tape is not self]
            yield
        finally:
            active_tapes()[:] = tapes

    def _require_recording(self, op: str) -> None:
        if not self._recording:
            raise InvalidArgumentError(op, "the tape is not recording",
                                       "call it within `with tape:`, outside of stop_recording")

    def reset(self) -> None:
        """Discard all records. The tape must be recording."""
        self._require_recording("reset")
        self._entries, self._watched, self._reads = [], {}, {}

    def watched_variables(self) -> tuple[Variable, ...]:
        return tuple(self._reads)

    # ── backpropagation ──

    def gradient(self, target, sources, output_gradients=None,
                 unconnected_gradients=UnconnectedGradients.NONE):
        """The gradient of the sum of `target` with respect to `sources`, in their structure.

        `output_gradients`, in the structure of `target`, weights its elements. For a source on
        which the target does not depend, the gradient is None, or zeros with
        UnconnectedGradients.ZERO.
        """
        if self._used and not self._persistent:
            raise FailedPreconditionError(
                "gradient",
                "the tape was already used",
                "create it with tf.GradientTape(persistent=True) to compute several gradients",
            )
        self._used = True
        targets, leaves = tree.flatten(target)[0], tree.flatten(sources)
        cotangents = (
            [None] * len(targets) if output_gradients is None else tree.flatten(output_gradients)[0]
        )
        if len(cotangents) != len(targets):
            raise InvalidArgumentError(
                "gradient", f"there are {len(cotangents)} output_gradients for {len(targets)} "
                "targets", "pass one for each target, or None")
        if self._persistent:
            grads = self._backpropagate(targets, cotangents)
        else:
            with self._removed_from_active_tapes():
                grads = self._backpropagate(targets, cotangents)
        source_grads = [
            self._gradient_of(s, grads, UnconnectedGradients(unconnected_gradients))
            for s in leaves[0]
        ]
        if not self._persistent:
            # Nothing reads the records again; they would keep the activations in memory.
            self._entries, self._watched = [], {}
            self._reads = {variable: [] for variable in self._reads}
        return tree.unflatten(leaves[1], source_grads)

    def _backpropagate(self, targets, cotangents) -> dict[int, Tensor]:
        """The cotangents of all tensors on which the targets depend, by the id of the tensor."""
        grads: dict[int, Tensor] = {}
        entries = list(self._entries)
        for target, g in zip(targets, cotangents):
            for t in (
                self._reads.get(target, ())[-1:]
                if isinstance(target, Variable)
                else [as_tensor(target)]
            ):
                if not t.dtype.is_floating:
                    raise InvalidArgumentError(
                        "gradient", f"the target is {t.dtype}", "it must be floating"
                    )
                _accumulate(grads, t, _ones_like(t) if g is None else _checked_cotangent(g, t))
        for entry in reversed(entries):
            gs = [grads.get(id(out)) for out in entry.outs]
            if all(g is None for g in gs):
                continue
            for arg, d in zip(entry.args, entry.vjp(gs)):
                if d is not None and id(arg) in self._watched:
                    _accumulate(grads, arg, d)
        return grads

    def _gradient_of(self, source, grads, unconnected) -> Tensor | None:
        values = self._reads.get(source, []) if isinstance(source, Variable) else [source]
        terms = [grads[id(v)] for v in values if id(v) in grads]
        if terms:
            total = terms[0]
            for term in terms[1:]:
                total = bind("add", total, term)
            return total
        if unconnected is UnconnectedGradients.NONE:
            return None
        return bind("broadcast_to", as_tensor(0, source.dtype), shape=tuple(source.shape))

    def jacobian(self, target, sources):
        """The Jacobian with respect to each of `sources`, of shape target.shape + source.shape.

        The tape must be persistent.
        """
        target = as_tensor(target)
        count = target.spec.count
        leaves, structure = tree.flatten(sources)
        rows: list[list] = [[] for _ in leaves]
        for i in range(count):
            one_hot = bind(
                "reshape",
                bind(
                    "cast",
                    bind("equal", bind("iota", shape=(count,), axis=0), i),
                    dtype=target.dtype,
                ),
                shape=tuple(target.shape),
            )
            grads = self.gradient(target, leaves, [one_hot], UnconnectedGradients.ZERO)
            for source_rows, g in zip(rows, grads):
                source_rows.append(bind("reshape", g, shape=(1, *g.shape)))
        jacobians = [
            bind("reshape", bind("concat", *source_rows, axis=0), shape=(*target.shape, *s.shape))
            for source_rows, s in zip(rows, leaves)
        ]
        return tree.unflatten(structure, jacobians)


def _accumulate(grads: dict[int, Tensor], tensor: Tensor, g: Tensor) -> None:
    previous = grads.get(id(tensor))
    grads[id(tensor)] = g if previous is None else bind("add", previous, g)


def _checked_cotangent(value, target: Tensor) -> Tensor:
    """An element of output_gradients as a Tensor with the shape and dtype of its target."""
    g = as_tensor(value, None if isinstance(value, (Tensor, Variable)) else target.dtype)
    if g.spec != target.spec:
        raise InvalidArgumentError(
            "gradient", f"output gradient {g.spec} does not match target {target.spec}",
            "shape and dtype must be equal")
    return g


def _ones_like(t: Tensor) -> Tensor:
    return bind("broadcast_to", as_tensor(1, t.dtype), shape=tuple(t.shape))

