"""ResNet-20 (He et al., 2015, arXiv:1512.03385), of Keras's layers."""

import tensorbrook as tf

from .preset_weights import Given, Unit
from .training import trained


class Block(tf.keras.layers.Layer):
    """Two convolutions, and a way around them."""

    def __init__(self, given, name):
        super().__init__()
        changes = f"{name}.short.w" in given.arrays
        strides = 2 if changes else 1
        self.first = Unit(given, f"{name}.a", strides, activation=tf.nn.relu)
        self.second = Unit(given, f"{name}.b")
        self.short = Unit(given, f"{name}.short", strides) if changes else None

    def call(self, x):
        beside = x if self.short is None else self.short(x)
        return tf.nn.relu(self.second(self.first(x)) + beside)


class ResNet(tf.keras.Model):
    def __init__(self, given):
        super().__init__()
        depth = sum(name.endswith(".a.w") for name in given.arrays)
        self.stem = Unit(given, "stem", activation=tf.nn.relu)
        self.blocks = [Block(given, str(i)) for i in range(depth)]
        self.pool, self.head = tf.keras.layers.GlobalAveragePooling2D(), given.dense("head")

    def call(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(x))


def resnet(arrays, flavour, checked_steps):
    return trained(ResNet(Given(arrays)), tf.keras.optimizers.Adam(0.001), arrays, flavour,
                   checked_steps)
