"""Teach a small GPT a grammar, letter by letter, and let it write: which sentences are right?

A sentence tells how many of whom do what beside how many others, as in "three foxes near one hen
sleep." Each noun must agree with its number, and the verb with the first of them, which stands far
back. That is for attention to find out: nobody tells the network about words.
"""

import argparse
import math
import random
import time

import tensorbrook as tf
from tensorbrook.keras import layers

NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
NOUNS = {"fox": "foxes", "hen": "hens", "goose": "geese", "mouse": "mice", "duck": "ducks"}
PLACES = ("near", "behind", "with")
VERBS = {"sleeps": "sleep", "sings": "sing", "runs": "run", "waits": "wait"}
LETTERS = sorted({*"\n .", *"".join([*NUMBERS, *NOUNS, *NOUNS.values(), *PLACES, *VERBS])})

CONTEXT, BATCH, WIDTH, HEADS, BLOCKS = 40, 32, 64, 4, 2
TEMPERATURE = 0.5      # below 1 the writer keeps to what it is sure of


def written(chance):
    """A sentence by the grammar."""
    def some(words, number):
        singular = chance.choice(list(words))
        return singular if NUMBERS[number] == 1 else words[singular]

    first, second = chance.choices(list(NUMBERS), k=2)
    return (f"{first} {some(NOUNS, first)} {chance.choice(PLACES)} {second} "
            f"{some(NOUNS, second)} {some(VERBS, first)}.")


def is_right(sentence):
    """Whether a sentence follows the grammar."""
    words = sentence.removesuffix(".").split(" ")
    if not sentence.endswith(".") or len(words) != 6:
        return False
    first, noun, place, second, other, verb = words
    if first not in NUMBERS or second not in NUMBERS or place not in PLACES:
        return False

    def forms(table, number):
        return table if NUMBERS[number] == 1 else table.values()

    return (noun in forms(NOUNS, first) and other in forms(NOUNS, second)
            and verb in forms(VERBS, first))


class Block(layers.Layer):
    """Attention and an MLP, each after a norm and beside a way around."""

    def __init__(self):
        super().__init__()
        self.norms = [layers.LayerNormalization(epsilon=1e-5) for _ in range(2)]
        self.attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)
        self.up, self.down = layers.Dense(4 * WIDTH, "gelu"), layers.Dense(WIDTH)

    def call(self, x):
        seen = self.norms[0](x)
        x = x + self.attention(seen, seen, use_causal_mask=True)
        return x + self.down(self.up(self.norms[1](x)))


class GPT(tf.keras.Model):
    """The scores of every letter to come next, at each place of a text (Radford et al., 2019)."""

    def __init__(self):
        super().__init__()
        self.letters = layers.Embedding(len(LETTERS), WIDTH)
        self.places = layers.Embedding(CONTEXT, WIDTH)
        self.blocks = [Block() for _ in range(BLOCKS)]
        self.norm, self.scores = layers.LayerNormalization(epsilon=1e-5), layers.Dense(len(LETTERS))

    def call(self, text):
        x = self.letters(text) + self.places(tf.range(text.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.scores(self.norm(x))


def codes(lines):
    """Lines as numbers: each after the end of one before it, and filled up with ends."""
    return [[LETTERS.index(letter) for letter in ("\n" + line).ljust(CONTEXT + 1, "\n")]
            for line in lines]


def trainer(model, lines):
    """A function that trains a step, on some of the lines."""
    passages = tf.constant(codes(lines))
    optimizer = tf.keras.optimizers.AdamW(0.003)

    @tf.function
    def step():
        chosen = tf.gather(passages, tf.random.uniform((BATCH,), 0, len(lines), tf.int32))
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                chosen[:, 1:], model(chosen[:, :-1]))
            loss = tf.reduce_mean(losses)
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return loss

    return step


def writer(model, chance):
    """A function that writes a line, letter by letter."""
    next_letter = tf.function(lambda text, last: tf.nn.softmax(
        model(text)[0] / TEMPERATURE)[last])

    def line():
        text = ""
        while not text.endswith("\n") and len(text) < CONTEXT:
            seen = tf.constant(codes([text]))[:, :-1]      # what comes later is not seen
            chances = next_letter(seen, tf.constant(len(text))).tolist()
            text += chance.choices(LETTERS, chances)[0]
        return text.strip("\n")

    return line


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    tf.random.set_seed(options.seed)
    chance = random.Random(options.seed)
    model = GPT()
    step = trainer(model, [written(chance) for _ in range(2000)])

    start = time.perf_counter()
    for i in range(1, options.steps + 1):
        loss = step()
        if i % 50 == 0 or i == options.steps:
            print(f"step {i}: {float(loss) / math.log(2):.3f} bits a letter")
    seconds = time.perf_counter() - start

    write = writer(model, chance)
    lines = [write() for _ in range(25)]
    for line in lines:
        print(" " if is_right(line) else "?", line)
    print(f"sentences right: {100 * sum(map(is_right, lines)) / len(lines):.0f}%, "
          f"trained {seconds:.1f} s")


if __name__ == "__main__":
    main()
