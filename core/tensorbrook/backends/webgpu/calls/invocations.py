"""The parts of templates in which an invocation makes one element."""
from __future__ import annotations

from ..facts import Facts
from ..part import Part, over
from ..templates import template


def invocations(name: str, buffers: dict, count: int, lanes: int, facts: Facts,
                **constants) -> Part:
    """A template's part with an invocation for each of `count`, in workgroups of `lanes`."""
    return Part(template(name, LANES=lanes, **constants), buffers,
                over(count, lanes, facts.workgroups))
