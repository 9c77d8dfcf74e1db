"""Layers of Keras that begin with the weights which all contenders are given."""

import tensorbrook as tf

EPSILON = 1e-5


class Given:
    """Makes layers of the workload's arrays, whose names tell where each belongs."""

    def __init__(self, arrays):
        self.arrays = arrays

    def start(self, name):
        """An initializer; it has no other sizes than the array's."""
        return lambda shape, dtype=None: tf.reshape(self.arrays[name], shape)

    def size(self, name):
        return self.arrays[name].shape[-1]

    def dense(self, name, activation=None):
        return tf.keras.layers.Dense(
            self.size(f"{name}.w"), activation, kernel_initializer=self.start(f"{name}.w"),
            bias_initializer=self.start(f"{name}.b"))

    def convolution(self, name, strides=1):
        """Of each channel alone where the filter has one output."""
        filter = f"{name}.w"
        size, _, _, outputs = self.arrays[filter].shape
        if outputs == 1:
            return tf.keras.layers.DepthwiseConv2D(
                size, strides, "same", use_bias=False, depthwise_initializer=self.start(filter))
        return tf.keras.layers.Conv2D(outputs, size, strides, "same", use_bias=False,
                                      kernel_initializer=self.start(filter))

    def batch_norm(self, name):
        trained = {}
        if f"{name}.mean" in self.arrays:
            trained = {"moving_mean_initializer": self.start(f"{name}.mean"),
                       "moving_variance_initializer": self.start(f"{name}.variance")}
        return tf.keras.layers.BatchNormalization(
            epsilon=EPSILON, gamma_initializer=self.start(f"{name}.gamma"),
            beta_initializer=self.start(f"{name}.beta"), **trained)

    def layer_norm(self, name):
        return tf.keras.layers.LayerNormalization(
            epsilon=EPSILON, gamma_initializer=self.start(f"{name}.gamma"),
            beta_initializer=self.start(f"{name}.beta"))

    def embedding(self, name):
        table = self.arrays[name]
        return tf.keras.layers.Embedding(*table.shape, embeddings_initializer=self.start(name))


class Unit(tf.keras.layers.Layer):
    """A convolution and its batch norm."""

    def __init__(self, given, name, strides=1, activation=None):
        super().__init__()
        self.convolution = given.convolution(name, strides)
        self.norm = given.batch_norm(name)
        self.activation = activation

    def call(self, x):
        x = self.norm(self.convolution(x))
        return x if self.activation is None else self.activation(x)
