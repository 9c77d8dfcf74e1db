"""Scripts that tests run in a page of any browser."""

# Trains for three steps; prints the losses and the number of compiled programs.
STEP = """
import tensorbrook as tf
w = tf.Variable([[1.0], [2.0]])

@tf.function
def step(x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(x @ w))
    w.assign_sub(0.1 * tape.gradient(loss, w))
    return loss

print([float(step(tf.ones((4, 2)))) for _ in range(3)], tf.config.get_counters()["compiled"])
"""
