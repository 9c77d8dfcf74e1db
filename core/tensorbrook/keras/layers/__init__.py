"""`tf.keras.layers`."""

from .core import Activation, Dense, Dropout, Input, LeakyReLU, ReLU, Softmax
from .layer import Layer
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
    "Activation", "AveragePooling2D", "AvgPool2D", "Conv2D", "Dense", "Dropout", "Flatten",
    "GlobalAveragePooling2D", "GlobalAvgPool2D", "GlobalMaxPool2D", "GlobalMaxPooling2D", "Input",
    "Layer", "LeakyReLU", "MaxPool2D", "MaxPooling2D", "ReLU", "Reshape", "Softmax"]
