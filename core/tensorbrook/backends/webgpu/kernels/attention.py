"""Attention and its gradient, block by block: parts that never write the matrix of scores."""
from __future__ import annotations

from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..shader_dispatch import WGSL_TYPES, ShaderDispatch, grid
from ..shader_templates import instantiate

# How many queries, or keys, a workgroup has, how many columns of a result it makes at once, and how
# many times so many at most. The last two are registers: untuned estimates.
BLOCK_ROWS, BLOCK_COLUMNS, MAX_COLUMN_BLOCKS = 32, 64, 2
NUMBERS = ("HEADS", "T_Q", "T_K", "D", "D_V", "CAUSAL", "SCALE")
FLAGS = {"mask": "MASKED", "dk": "DK", "dv": "DV"}         # by what is among the buffers
STRIDES = ("MASK_BATCH", "MASK_HEAD", "MASK_Q", "MASK_K")


def attention(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """out and lse."""
    _, _, t_q, _, _, d_v, *_ = call.params
    names = ("q", "k", "v", "mask")[:len(call.args)]
    atoms = dict(zip((*names, "out", "lse"), (*call.args, *call.outs)))
    return _parts(call, device_info, "attention", atoms, t_q, d_v, SUBGROUPS=device_info.min_subgroup_size > 0)


def attention_grad(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """dq, then dk and dv: in one part, which makes the probabilities once for both, where the
    device takes that many buffers, else in two."""
    _, _, t_q, t_k, d, d_v, *_ = call.params
    q, k, v, g, lse, delta, *mask = call.args
    dq, dk, dv = call.outs
    scored = {"q": q, "k": k, "g": g, "lse": lse} | dict(zip(("mask",), mask))
    of_dk, of_dv = {"v": v, "delta": delta, "dk": dk}, {"dv": dv}
    both = scored | of_dk | of_dv
    parts = _parts(call, device_info, "attention_grad_queries",
                   scored | {"v": v, "delta": delta, "dq": dq}, t_q, d)
    if len(both) <= device_info.storage_buffers:
        return parts + _parts(call, device_info, "attention_grad_keys", both, t_k, max(d, d_v))
    return [*parts, *_parts(call, device_info, "attention_grad_keys", scored | of_dk, t_k, d),
            *_parts(call, device_info, "attention_grad_keys", scored | of_dv, t_k, d_v)]


def _parts(call: KernelCall, device_info: DeviceInfo, file: str, atoms: dict, rows: int, width: int,
           **flags: bool) -> list[ShaderDispatch]:
    """The part of a template for so many rows of each head, where a result is `width` wide."""
    batch, heads, *rest = call.params
    pieces, blocks = -(-width // BLOCK_COLUMNS), -(-rows // BLOCK_ROWS)
    splits = max(1, -(-pieces // MAX_COLUMN_BLOCKS))
    units = batch * heads * blocks * splits
    if not units:
        return []
    constants = dict(zip(NUMBERS + STRIDES, (heads, *rest)))
    constants |= {"ROWS": BLOCK_ROWS, "COLUMNS": BLOCK_COLUMNS, "BLOCKS": blocks, "UNITS": units,
                  "SPLITS": splits, "SPANS": max(1, min(pieces, MAX_COLUMN_BLOCKS))}
    flags |= {flag: True for name, flag in FLAGS.items() if name in atoms}
    element = WGSL_TYPES[call.args[0].spec.dtype.name]       # lse and delta are float32 always
    code = instantiate(file, element=element, **flags, **constants)
    return [ShaderDispatch(code, atoms, grid(units, 1, device_info.max_workgroups))]


KERNELS = {"attention": attention, "attention_masked": attention,
         "attention_grad": attention_grad, "attention_grad_masked": attention_grad}
