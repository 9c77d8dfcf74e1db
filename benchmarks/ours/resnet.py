"""ResNet-20 (He et al., 2015, arXiv:1512.03385) in Keras layers."""

import tensorbrook as tf

from .preset_weights import ConvBatchNorm, PresetLayers
from .training import training_step


class Block(tf.keras.layers.Layer):
    """Residual block: two convolutions and a shortcut."""

    def __init__(self, preset, name):
        super().__init__()
        changes_width = f"{name}.short.w" in preset.arrays
        strides = 2 if changes_width else 1
        self.first = ConvBatchNorm(preset, f"{name}.a", strides, activation=tf.nn.relu)
        self.second = ConvBatchNorm(preset, f"{name}.b")
        self.short = ConvBatchNorm(preset, f"{name}.short", strides) if changes_width else None

    def call(self, x):
        shortcut = x if self.short is None else self.short(x)
        return tf.nn.relu(self.second(self.first(x)) + shortcut)


class ResNet(tf.keras.Model):
    def __init__(self, preset):
        super().__init__()
        depth = sum(name.endswith(".a.w") for name in preset.arrays)
        self.stem = ConvBatchNorm(preset, "stem", activation=tf.nn.relu)
        self.blocks = [Block(preset, str(i)) for i in range(depth)]
        self.pool, self.head = tf.keras.layers.GlobalAveragePooling2D(), preset.dense("head")

    def call(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(x))


def resnet(arrays, api, checked_steps):
    model = ResNet(PresetLayers(arrays))
    return training_step(model, tf.keras.optimizers.Adam(0.001), arrays, api, checked_steps)
