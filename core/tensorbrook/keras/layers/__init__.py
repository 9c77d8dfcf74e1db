"""Layers: `tf.keras.layers.Dense`, `Conv2D`, `LSTM`, ..."""

from .attention import Attention, MultiHeadAttention
from .conv1d import (
    AveragePooling1D, Conv1D, GlobalAveragePooling1D, GlobalMaxPooling1D, MaxPooling1D)
from .conv2d import (
    AveragePooling2D, Conv2D, GlobalAveragePooling2D, GlobalMaxPooling2D, MaxPooling2D)
from .conv_transpose import Conv2DTranspose
from .core import (
    ELU, Activation, Dense, Dropout, Identity, Input, LeakyReLU, PReLU, ReLU, Rescaling, Softmax)
from .depthwise import DepthwiseConv2D, SeparableConv2D
from .embedding import Embedding
from .layer import Layer
from .merging import (
    Add, Average, Concatenate, Maximum, Minimum, Multiply, Subtract, add, average, concatenate,
    maximum, minimum, multiply, subtract)
from .normalization import BatchNormalization, LayerNormalization
from .padding import Cropping2D, UpSampling2D, ZeroPadding2D
from .recurrent import GRU, LSTM, SimpleRNN
from .regularization import GaussianNoise, SpatialDropout1D, SpatialDropout2D
from .reshaping import Flatten, Permute, RepeatVector, Reshape

MaxPool1D, AvgPool1D = MaxPooling1D, AveragePooling1D
MaxPool2D, AvgPool2D = MaxPooling2D, AveragePooling2D
GlobalAvgPool1D, GlobalMaxPool1D = GlobalAveragePooling1D, GlobalMaxPooling1D
GlobalAvgPool2D, GlobalMaxPool2D = GlobalAveragePooling2D, GlobalMaxPooling2D
Convolution1D, Convolution2D, SeparableConvolution2D = Conv1D, Conv2D, SeparableConv2D

__all__ = [
    "Activation", "Add", "Attention", "Average", "AveragePooling1D", "AveragePooling2D",
    "AvgPool1D", "AvgPool2D", "BatchNormalization", "Concatenate", "Conv1D", "Conv2D",
    "Conv2DTranspose", "Convolution1D", "Convolution2D", "Cropping2D", "Dense", "DepthwiseConv2D",
    "Dropout", "ELU", "Embedding", "Flatten", "GRU", "GaussianNoise", "GlobalAveragePooling1D",
    "GlobalAveragePooling2D", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalMaxPool1D",
    "GlobalMaxPool2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "Identity", "Input", "LSTM",
    "Layer", "LayerNormalization", "LeakyReLU", "MaxPool1D", "MaxPool2D", "MaxPooling1D",
    "MaxPooling2D", "Maximum", "Minimum", "MultiHeadAttention", "Multiply", "PReLU", "Permute",
    "ReLU", "RepeatVector", "Rescaling", "Reshape", "SeparableConv2D", "SeparableConvolution2D",
    "SimpleRNN", "Softmax", "SpatialDropout1D", "SpatialDropout2D", "Subtract", "UpSampling2D",
    "ZeroPadding2D", "add", "average", "concatenate", "maximum", "minimum", "multiply", "subtract"]
