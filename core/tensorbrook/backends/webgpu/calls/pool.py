"""Maximum and average over windows, and their gradients: no invocation adds to what another one
writes."""
from __future__ import annotations

from collections.abc import Callable

from ....ir import Call
from ..facts import Facts
from ..part import WGSL_TYPES, Part, Scratch
from .endings import zeros
from .invocations import invocations

NAMES = ("N", "H", "W", "C", "OH", "OW", "KH", "KW", "SH", "SW", "PT", "PL")
LANES = 64               # of a workgroup


def part(name: str, call: Call, facts: Facts, count: int, buffers: dict, **flags: bool) -> Part:
    """One invocation for each of `count` elements."""
    element = WGSL_TYPES[call.outs[0].spec.dtype.name]
    return invocations(name, buffers, count, LANES, facts, element=element,
                       **dict(zip(NAMES, map(int, call.numbers))), **flags)


def plain(name: str, *names: str, **flags: bool) -> Callable[[Call, Facts], list[Part]]:
    """A pool of one part, which reads its arguments by these names."""
    def parts(call: Call, facts: Facts) -> list[Part]:
        out, = call.outs
        if not all(x.spec.count for x in (*call.args, out)):
            return zeros(call, facts)
        buffers = dict(zip(names, call.args)) | {"out": out}
        return [part(name, call, facts, out.spec.count, buffers, **flags)]

    return parts


def are_tiles(call: Call) -> bool:
    """Whether the windows lie side by side and cover the image."""
    p = dict(zip(NAMES, map(int, call.numbers)))
    return (p["KH"], p["KW"]) == (p["SH"], p["SW"]) and p["OH"] * p["SH"] - p["PT"] >= p["H"] \
        and p["OW"] * p["SW"] - p["PL"] >= p["W"]


def max_pool_scatter(call: Call, facts: Facts) -> list[Part]:
    """Each window writes its cells, or, where they are not its alone, first the cell that wins each
    window, then what each cell gathers from those that it has won."""
    (g, x), (out,) = call.args, call.outs
    if not g.spec.count * out.spec.count:
        return zeros(call, facts)
    if are_tiles(call):
        return [part("max_pool", call, facts, g.spec.count, {"g": g, "x": x, "out": out},
                     SPREAD=True)]
    winners = Scratch(4 * g.spec.count)
    return [part("max_pool", call, facts, g.spec.count, {"x": x, "out": winners}, WINNER=True),
            part("max_pool_scatter", call, facts, out.spec.count,
                 {"g": g, "winners": winners, "out": out})]


CALLS = {"max_pool": plain("max_pool", "x", MAXIMUM=True),
         "max_pool_select": plain("max_pool", "y", "x", SELECT=True),
         "max_pool_scatter": max_pool_scatter,
         "avg_pool": plain("avg_pool", "x"),
         "avg_pool_grad": plain("avg_pool_grad", "g")}
