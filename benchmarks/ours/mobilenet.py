"""MobileNetV2 (Sandler et al., 2018, arXiv:1801.04381), of Keras's layers."""

import tensorbrook as tf

from .preset_weights import Given, Unit
from .correctness_samples import sample


class Block(tf.keras.layers.Layer):
    """Wide inside, narrow at both ends, with a way around where the ends are alike."""

    def __init__(self, given, name, strides):
        super().__init__()
        self.expand = Unit(given, f"{name}.expand", activation=tf.nn.relu6) \
            if f"{name}.expand.w" in given.arrays else None
        self.depthwise = Unit(given, f"{name}.depthwise", strides, tf.nn.relu6)
        self.project = Unit(given, f"{name}.project")

    def call(self, x):
        h = x if self.expand is None else self.expand(x)
        h = self.project(self.depthwise(h))
        return h + x if h.shape == x.shape else h


class MobileNet(tf.keras.Model):
    def __init__(self, given, strides):
        super().__init__()
        self.stem = Unit(given, "stem", 2, activation=tf.nn.relu6)
        self.blocks = [Block(given, str(i), stride) for i, stride in enumerate(strides)]
        self.last = Unit(given, "last", activation=tf.nn.relu6)
        self.pool, self.head = tf.keras.layers.GlobalAveragePooling2D(), given.dense("head")

    def call(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(self.last(x)))


def mobilenet(arrays, flavour, strides):
    model = MobileNet(Given(arrays), strides)
    f = tf.function(lambda x: model(x, training=False))
    return f, (arrays["x"],), lambda: sample(f(arrays["x"]))
