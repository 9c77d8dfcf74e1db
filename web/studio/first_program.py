import tensorbrook as tf

# Fit a line to four points by gradient descent.
x = tf.constant([0.0, 1.0, 2.0, 3.0])
y = tf.constant([1.0, 3.0, 5.0, 7.0])
slope, offset = tf.Variable(0.0), tf.Variable(0.0)

for step in range(200):
    with tf.GradientTape() as tape:
        error = tf.reduce_mean((slope * x + offset - y) ** 2)
    d_slope, d_offset = tape.gradient(error, [slope, offset])
    slope.assign_sub(0.1 * d_slope)
    offset.assign_sub(0.1 * d_offset)
    if step % 40 == 0:
        print(f"step {step:3}: error {float(error):.4f}")

print(f"y = {float(slope):.2f} x + {float(offset):.2f}")
