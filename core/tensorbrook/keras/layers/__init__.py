"""`tf.keras.layers`."""

from .core import Activation, Dense, Dropout, Input, LeakyReLU, ReLU, Softmax
from .embedding import Embedding
from .layer import Layer
from .normalization import BatchNormalization, LayerNormalization
from .shaping import Flatten, Reshape
from .windows import (
                      AveragePooling2D,
                      Conv2D,
                      GlobalAveragePooling2D,
                      GlobalMaxPooling2D,
                      MaxPooling2D,
)

MaxPool2D, AvgPool2D = MaxPooling2D, AveragePooling2D
GlobalAvgPool2D, GlobalMaxPool2D = GlobalAveragePooling2D, GlobalMaxPooling2D

__all__ = [
    "Activation", "AveragePooling2D", "AvgPool2D", "BatchNormalization", "Conv2D", "Dense",
    "Dropout", "Embedding", "Flatten", "GlobalAveragePooling2D", "GlobalAvgPool2D",
    "GlobalMaxPool2D", "GlobalMaxPooling2D", "Input", "Layer", "LayerNormalization", "LeakyReLU",
    "MaxPool2D", "MaxPooling2D", "ReLU", "Reshape", "Softmax"]
