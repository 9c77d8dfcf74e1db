"""Task-local stacks: contexts that a task has entered are hidden while another task runs.

In a page, a call that waits for a promise suspends its task, and other tasks continue in the same
interpreter. A trace or tape of the suspended task must not record the operations of other tasks, so
its entries are removed from the stacks until the task resumes.
"""
from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager

_stacks: list[tuple[list, int, Callable[[], None]]] = []


def register_stack(stack: list, shared_prefix: int = 0,
                   on_change: Callable[[], None] = lambda: None) -> list:
    """Declare a stack task-local, except for its first `shared_prefix` entries; returns the stack.

    `on_change` is called after this module has changed the entries.
    """
    _stacks.append((stack, shared_prefix, on_change))
    return stack


@contextmanager
def suspended_stacks():
    """Remove the task's entries while other tasks run within the block; then restore them."""
    saved = [stack[shared_prefix:] for stack, shared_prefix, _ in _stacks]
    reset_stacks()
    try:
        yield
    finally:
        for registration, entries in zip(_stacks, saved):
            _restore(*registration, entries)


def reset_stacks() -> None:
    """Remove every task-local entry."""
    for registration in _stacks:
        _restore(*registration, [])


def _restore(stack: list, shared_prefix: int, on_change: Callable[[], None], entries: list) -> None:
    if stack[shared_prefix:] != entries:
        stack[shared_prefix:] = entries
        on_change()
