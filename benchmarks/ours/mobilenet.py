"""MobileNetV2 (Sandler et al., 2018, arXiv:1801.04381) in Keras layers."""

import tensorbrook as tf

from .correctness_samples import sample
from .preset_weights import ConvBatchNorm, PresetLayers


class Block(tf.keras.layers.Layer):
    """Inverted residual: expand, depthwise, project; a shortcut where the shapes are equal."""

    def __init__(self, preset, name, strides):
        super().__init__()
        self.expand = ConvBatchNorm(preset, f"{name}.expand", activation=tf.nn.relu6) \
            if f"{name}.expand.w" in preset.arrays else None
        self.depthwise = ConvBatchNorm(preset, f"{name}.depthwise", strides, tf.nn.relu6)
        self.project = ConvBatchNorm(preset, f"{name}.project")

    def call(self, x):
        h = x if self.expand is None else self.expand(x)
        h = self.project(self.depthwise(h))
        return h + x if h.shape == x.shape else h


class MobileNet(tf.keras.Model):
    def __init__(self, preset, strides):
        super().__init__()
        self.stem = ConvBatchNorm(preset, "stem", 2, activation=tf.nn.relu6)
        self.blocks = [Block(preset, str(i), stride) for i, stride in enumerate(strides)]
        self.last = ConvBatchNorm(preset, "last", activation=tf.nn.relu6)
        self.pool, self.head = tf.keras.layers.GlobalAveragePooling2D(), preset.dense("head")

    def call(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(self.last(x)))


def mobilenet(arrays, api, strides):
    model = MobileNet(PresetLayers(arrays), strides)
    f = tf.function(lambda x: model(x, training=False))
    return f, (arrays["x"],), lambda: sample(f(arrays["x"]))
