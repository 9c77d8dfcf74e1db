"""What code keeps to itself while it waits for something, and other tasks of the thread run.

In a page Python may be set aside in the midst of a call, when it waits for a promise; then other
tasks go on in the same interpreter. What a task has opened (a trace, a tape) must not catch what
they do, so those stacks are put aside with it.
"""
from __future__ import annotations

from contextlib import contextmanager

_stacks: list[tuple[list, int]] = []


def private(stack: list, shared: int = 0) -> list:
    """Declare that all of a stack but its lowest `shared` entries is of the task that runs."""
    _stacks.append((stack, shared))
    return stack


@contextmanager
def aside():
    """Within the block other tasks may run: they find the stacks as none had opened anything."""
    kept = [stack[shared:] for stack, shared in _stacks]
    for stack, shared in _stacks:
        del stack[shared:]
    try:
        yield
    finally:
        for (stack, shared), own in zip(_stacks, kept):
            stack[shared:] = own
