"""Block-wise attention and its gradient, which never store the matrix of scores (as
FlashAttention)."""
from __future__ import annotations

from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..shader_dispatch import WGSL_TYPES, ShaderDispatch, grid
from ..shader_templates import instantiate

# Queries (or keys) of a workgroup, columns of a result that it computes at once, and how many such
# blocks of columns at most. The last two determine its registers. Heuristics; not tuned on
# hardware.
BLOCK_ROWS, BLOCK_COLUMNS, MAX_COLUMN_BLOCKS = 32, 64, 2
PARAMS = ("HEADS", "T_Q", "T_K", "D", "D_V", "CAUSAL", "SCALE",
          "MASK_BATCH", "MASK_HEAD", "MASK_Q", "MASK_K")     # the strides of the mask
FLAGS = {"mask": "MASKED", "dk": "DK", "dv": "DV"}           # set if there is such a buffer


def attention(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Compute out and lse."""
    _, _, t_q, _, _, d_v, *_ = call.params
    names = ("q", "k", "v", "mask")[:len(call.args)]
    buffers = dict(zip((*names, "out", "lse"), (*call.args, *call.outs)))
    return _dispatches(call, device_info, "attention", buffers, t_q, d_v,
                       SUBGROUPS=device_info.min_subgroup_size > 0)


def attention_grad(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Compute dq, then dk and dv: in one dispatch, which computes the probabilities once, if the
    device binds enough buffers; otherwise in two."""
    _, _, t_q, t_k, d, d_v, *_ = call.params
    q, k, v, g, lse, delta, *mask = call.args
    dq, dk, dv = call.outs
    common = {"q": q, "k": k, "g": g, "lse": lse} | dict(zip(("mask",), mask))
    dk_only, dv_only = {"v": v, "delta": delta, "dk": dk}, {"dv": dv}
    keys_buffers = common | dk_only | dv_only
    dispatches = _dispatches(call, device_info, "attention_grad_queries",
                             common | {"v": v, "delta": delta, "dq": dq}, t_q, d)
    keys = "attention_grad_keys"
    if len(keys_buffers) <= device_info.storage_buffers:
        return dispatches + _dispatches(call, device_info, keys, keys_buffers, t_k, max(d, d_v))
    return [*dispatches, *_dispatches(call, device_info, keys, common | dk_only, t_k, d),
            *_dispatches(call, device_info, keys, common | dv_only, t_k, d_v)]


def _dispatches(call: KernelCall, device_info: DeviceInfo, template: str, buffers: dict, rows: int,
                width: int, **flags: bool) -> list[ShaderDispatch]:
    """Dispatch a template for `rows` rows per head of a result of `width` columns."""
    batch, heads, *_ = call.params
    column_blocks, row_blocks = -(-width // BLOCK_COLUMNS), -(-rows // BLOCK_ROWS)
    column_splits = max(1, -(-column_blocks // MAX_COLUMN_BLOCKS))
    tasks = batch * heads * row_blocks * column_splits
    if not tasks:
        return []
    settings = dict(zip(PARAMS, call.params[1:])) | {
        "BLOCK_ROWS": BLOCK_ROWS, "BLOCK_COLUMNS": BLOCK_COLUMNS, "ROW_BLOCKS": row_blocks,
        "TASKS": tasks, "COLUMN_SPLITS": column_splits,
        "COLUMN_BLOCKS": max(1, min(column_blocks, MAX_COLUMN_BLOCKS))}
    flags |= {flag: True for name, flag in FLAGS.items() if name in buffers}
    element = WGSL_TYPES[call.args[0].spec.dtype.name]       # lse and delta are always float32
    code = instantiate(template, element=element, **flags, **settings)
    return [ShaderDispatch(code, buffers, grid(tasks, 1, device_info.max_workgroups))]


KERNELS = {"attention": attention, "attention_masked": attention,
           "attention_grad": attention_grad, "attention_grad_masked": attention_grad}
