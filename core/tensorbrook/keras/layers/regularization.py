"""Regularization layers besides Dropout: random, and active in training only."""

from __future__ import annotations

from typing import Any

import tensorbrook as tf

from .core import Dropout, Elementwise
from .normalization import require_positive


class SpatialDropout1D(Dropout):
    """Dropout of whole channels of sequences (batch, steps, channels)."""

    input_rank, input_format = (3, 3), "(batch, steps, channels)"

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, seed=seed, **kwargs)
        self.noise_shape = (None, 1, None)


class SpatialDropout2D(Dropout):
    """Dropout of whole channels of images (batch, height, width, channels)."""

    input_rank, input_format = (4, 4), "(batch, height, width, channels)"

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, seed=seed, **kwargs)
        self.noise_shape = (None, 1, 1, None)


class GaussianNoise(Elementwise):
    """In training, adds normal noise of standard deviation `stddev`, which must be positive."""

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.stddev = require_positive(self.display_name, "stddev", stddev)
        self.seed = seed
        self._random = None if seed is None else tf.random.Generator(seed)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return x
        generator = self._random or tf.random.get_global_generator()
        return x + generator.normal(tuple(x.shape), 0.0, self.stddev, x.dtype)
