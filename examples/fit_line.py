"""Linear regression: fit a straight line with a Dense layer of one unit."""

import tensorbrook as tf

tf.random.set_seed(0)

x = tf.random.uniform((256, 1), -1.0, 1.0)
y = x * 3.0 - 1.0 + tf.random.normal((256, 1), stddev=0.05)

model = tf.keras.Sequential([tf.keras.Input((1,)), tf.keras.layers.Dense(1)])
model.compile(optimizer=tf.keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
history = model.fit(x, y, epochs=20, batch_size=64, verbose=2)

kernel, bias = model.layers[0].weights
slope, offset = kernel.tolist()[0][0], bias.tolist()[0]
print(f"y = {slope:.2f} x + {offset:.2f}, loss {history.history['loss'][-1]:.4f}")
