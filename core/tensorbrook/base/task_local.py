"""What code keeps to itself while it waits for something, and other tasks of the thread run.

In a page Python may be set aside in the midst of a call, when it waits for a promise; then other
tasks go on in the same interpreter. What a task has opened (a trace, a tape) must not catch what
they do, so those stacks are put aside with it.
"""
from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager

_stacks: list[tuple[list, int, Callable[[], None]]] = []


def register_stack(stack: list, shared_prefix: int = 0, on_change: Callable[[], None] = lambda: None) -> list:
    """Declare that all of a stack but its lowest `shared` entries is of the task that runs. Whoever
    goes by what is on top is told by `changed`."""
    _stacks.append((stack, shared_prefix, on_change))
    return stack


@contextmanager
def suspended_stacks():
    """Within the block other tasks may run: they find the stacks as none had opened anything."""
    kept = [stack[shared:] for stack, shared, _ in _stacks]
    reset_stacks()
    try:
        yield
    finally:
        for (stack, shared, changed), own in zip(_stacks, kept):
            _restore(stack, shared, changed, own)


def reset_stacks() -> None:
    """Leave all that is open."""
    for stack, shared, changed in _stacks:
        _restore(stack, shared, changed, [])


def _restore(stack: list, shared: int, changed: Callable[[], None], own: list) -> None:
    if stack[shared:] != own:
        stack[shared:] = own
        changed()
