"""Attention and its gradient, block by block: parts that never write the matrix of scores."""
from __future__ import annotations

from ....ir import Call
from ..facts import Facts
from ..part import WGSL_TYPES, Part, over
from ..templates import template

# How many queries, or keys, a workgroup has, how many columns of a result it makes at once, and how
# many times so many at most. The last two are registers: untuned estimates.
ROWS, COLUMNS, SPANS = 32, 64, 2
NUMBERS = ("HEADS", "T_Q", "T_K", "D", "D_V", "CAUSAL", "SCALE")
FLAGS = {"mask": "MASKED", "dk": "DK", "dv": "DV"}         # by what is among the buffers
STRIDES = ("MASK_BATCH", "MASK_HEAD", "MASK_Q", "MASK_K")


def attention(call: Call, facts: Facts) -> list[Part]:
    """out and lse."""
    _, _, t_q, _, _, d_v, *_ = call.numbers
    names = ("q", "k", "v", "mask")[:len(call.args)]
    atoms = dict(zip((*names, "out", "lse"), (*call.args, *call.outs)))
    return _parts(call, facts, "attention", atoms, t_q, d_v, SUBGROUPS=facts.subgroups > 0)


def attention_grad(call: Call, facts: Facts) -> list[Part]:
    """dq, then dk and dv: in one part, which makes the probabilities once for both, where the
    device takes that many buffers, else in two."""
    _, _, t_q, t_k, d, d_v, *_ = call.numbers
    q, k, v, g, lse, delta, *mask = call.args
    dq, dk, dv = call.outs
    scored = {"q": q, "k": k, "g": g, "lse": lse} | dict(zip(("mask",), mask))
    of_dk, of_dv = {"v": v, "delta": delta, "dk": dk}, {"dv": dv}
    both = scored | of_dk | of_dv
    parts = _parts(call, facts, "attention_grad_queries",
                   scored | {"v": v, "delta": delta, "dq": dq}, t_q, d)
    if len(both) <= facts.storage_buffers:
        return parts + _parts(call, facts, "attention_grad_keys", both, t_k, max(d, d_v))
    return [*parts, *_parts(call, facts, "attention_grad_keys", scored | of_dk, t_k, d),
            *_parts(call, facts, "attention_grad_keys", scored | of_dv, t_k, d_v)]


def _parts(call: Call, facts: Facts, file: str, atoms: dict, rows: int, width: int,
           **flags: bool) -> list[Part]:
    """The part of a template for so many rows of each head, where a result is `width` wide."""
    batch, heads, *rest = call.numbers
    pieces, blocks = -(-width // COLUMNS), -(-rows // ROWS)
    splits = max(1, -(-pieces // SPANS))
    units = batch * heads * blocks * splits
    if not units:
        return []
    constants = dict(zip(NUMBERS + STRIDES, (heads, *rest)))
    constants |= {"ROWS": ROWS, "COLUMNS": COLUMNS, "BLOCKS": blocks, "UNITS": units,
                  "SPLITS": splits, "SPANS": max(1, min(pieces, SPANS))}
    flags |= {flag: True for name, flag in FLAGS.items() if name in atoms}
    element = WGSL_TYPES[call.args[0].spec.dtype.name]       # lse and delta are float32 always
    code = template(file, element=element, **flags, **constants)
    return [Part(code, atoms, over(units, 1, facts.workgroups))]


CALLS = {"attention": attention, "attention_masked": attention,
         "attention_grad": attention_grad, "attention_grad_masked": attention_grad}
