"""`tf.keras`: layers, models, losses, metrics and optimizers with the names of Keras 3."""

from . import (
    activations,
    callbacks,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    mixed_precision,
    models,
    ops,
    optimizers,
    utils,
)
from .dtype_policies import DTypePolicy
from .initializers import Initializer
from .layers import Input, Layer
from .losses import Loss
from .metrics import Metric
from .model import Model
from .optimizers import Optimizer
from .sequential import Sequential

__all__ = [
    "DTypePolicy", "Initializer", "Input", "Layer", "Loss", "Metric", "Model", "Optimizer",
    "Sequential", "activations", "callbacks", "datasets", "initializers", "layers", "losses",
    "metrics", "mixed_precision", "models", "ops", "optimizers", "utils"]
