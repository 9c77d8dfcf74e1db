"""Training step of an LSTM that classifies sequences."""

import tensorbrook as tf

from .preset_weights import PresetLayers
from .training import training_step


class SequenceClassifier(tf.keras.Model):
    def __init__(self, preset):
        super().__init__()
        self.lstm = tf.keras.layers.LSTM(
            preset.size("recurrent") // 4, kernel_initializer=preset.initializer("kernel"),
            recurrent_initializer=preset.initializer("recurrent"),
            bias_initializer=preset.initializer("bias"), unit_forget_bias=False)
        self.head = preset.dense("head")

    def call(self, x):
        return self.head(self.lstm(x))


def lstm(arrays, api, checked_steps):
    model = SequenceClassifier(PresetLayers(arrays))
    return training_step(model, tf.keras.optimizers.Adam(0.001), arrays, api, checked_steps)
