"""`tf.keras.mixed_precision`: computing in float16 with weights in float32; see docs/gpu.md."""

from .optimizers import LossScaleOptimizer
from .dtype_policies import DTypePolicy, global_policy, set_global_policy

Policy = DTypePolicy
dtype_policy, set_dtype_policy = global_policy, set_global_policy

__all__ = ["DTypePolicy", "LossScaleOptimizer", "Policy", "dtype_policy", "global_policy",
           "set_dtype_policy", "set_global_policy"]
