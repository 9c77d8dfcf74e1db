"""Keras layers that are initialized with the weights of the workload."""

import tensorbrook as tf

EPSILON = 1e-5


class PresetLayers:
    """Makes layers from the workload's arrays; "name.w" is the weight of layer "name"."""

    def __init__(self, arrays):
        self.arrays = arrays

    def initializer(self, name):
        """An initializer that returns this array."""
        return lambda shape, dtype=None: tf.reshape(self.arrays[name], shape)

    def size(self, name):
        return self.arrays[name].shape[-1]

    def dense(self, name, activation=None):
        return tf.keras.layers.Dense(
            self.size(f"{name}.w"), activation, kernel_initializer=self.initializer(f"{name}.w"),
            bias_initializer=self.initializer(f"{name}.b"))

    def convolution(self, name, strides=1):
        """A convolution; depthwise where the filter has one output channel."""
        filter = f"{name}.w"
        size, _, _, outputs = self.arrays[filter].shape
        if outputs == 1:
            return tf.keras.layers.DepthwiseConv2D(
                size, strides, "same", use_bias=False,
                depthwise_initializer=self.initializer(filter))
        return tf.keras.layers.Conv2D(outputs, size, strides, "same", use_bias=False,
                                      kernel_initializer=self.initializer(filter))

    def batch_norm(self, name):
        moving = {}
        if f"{name}.mean" in self.arrays:
            moving = {"moving_mean_initializer": self.initializer(f"{name}.mean"),
                      "moving_variance_initializer": self.initializer(f"{name}.variance")}
        return tf.keras.layers.BatchNormalization(
            epsilon=EPSILON, gamma_initializer=self.initializer(f"{name}.gamma"),
            beta_initializer=self.initializer(f"{name}.beta"), **moving)

    def layer_norm(self, name):
        return tf.keras.layers.LayerNormalization(
            epsilon=EPSILON, gamma_initializer=self.initializer(f"{name}.gamma"),
            beta_initializer=self.initializer(f"{name}.beta"))

    def embedding(self, name):
        table = self.arrays[name]
        return tf.keras.layers.Embedding(*table.shape,
                                         embeddings_initializer=self.initializer(name))


class ConvBatchNorm(tf.keras.layers.Layer):
    """A convolution, its batch norm and an activation."""

    def __init__(self, preset, name, strides=1, activation=None):
        super().__init__()
        self.convolution = preset.convolution(name, strides)
        self.norm = preset.batch_norm(name)
        self.activation = activation

    def call(self, x):
        x = self.norm(self.convolution(x))
        return x if self.activation is None else self.activation(x)
