"""Mixed precision: compute in float16 with weights in float32; see docs/gpu.md."""

from .dtype_policies import DTypePolicy, global_policy, set_global_policy
from .optimizers import LossScaleOptimizer

Policy = DTypePolicy
dtype_policy, set_dtype_policy = global_policy, set_global_policy

__all__ = ["DTypePolicy", "LossScaleOptimizer", "Policy", "dtype_policy", "global_policy",
           "set_dtype_policy", "set_global_policy"]
