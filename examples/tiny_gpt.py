"""Train a small character-level GPT on a grammar, and count its grammatical sentences.

A sentence is like "three foxes near one hen sleep." Each noun must agree with the number before it,
and the verb with the first number, which is far back in the context. The network sees only letters
and must learn this agreement with attention.
"""

import argparse
import math
import random
import time

import tensorbrook as tf
from tensorbrook.keras import layers

NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
NOUNS = {"fox": "foxes", "hen": "hens", "goose": "geese", "mouse": "mice", "duck": "ducks"}
PREPOSITIONS = ("near", "behind", "with")
VERBS = {"sleeps": "sleep", "sings": "sing", "runs": "run", "waits": "wait"}
LETTERS = sorted({*"\n .", *"".join([*NUMBERS, *NOUNS, *NOUNS.values(), *PREPOSITIONS, *VERBS])})

CONTEXT, BATCH, WIDTH, HEADS, BLOCKS = 40, 32, 64, 4, 2
TEMPERATURE = 0.5      # below 1, probable letters are sampled more often


def random_sentence(rng):
    """A random sentence of the grammar."""
    def noun_or_verb(words, number):
        singular = rng.choice(list(words))
        return singular if NUMBERS[number] == 1 else words[singular]

    first, second = rng.choices(list(NUMBERS), k=2)
    return (f"{first} {noun_or_verb(NOUNS, first)} {rng.choice(PREPOSITIONS)} {second} "
            f"{noun_or_verb(NOUNS, second)} {noun_or_verb(VERBS, first)}.")


def is_grammatical(sentence):
    """Whether a sentence follows the grammar."""
    words = sentence.removesuffix(".").split(" ")
    if not sentence.endswith(".") or len(words) != 6:
        return False
    first, noun, preposition, second, other, verb = words
    if first not in NUMBERS or second not in NUMBERS or preposition not in PREPOSITIONS:
        return False

    def forms(table, number):
        return table if NUMBERS[number] == 1 else table.values()

    return (noun in forms(NOUNS, first) and other in forms(NOUNS, second)
            and verb in forms(VERBS, first))


class Block(layers.Layer):
    """Pre-norm Transformer block: attention and an MLP, each with a norm before and a residual."""

    def __init__(self):
        super().__init__()
        self.norms = [layers.LayerNormalization(epsilon=1e-5) for _ in range(2)]
        self.attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)
        self.up, self.down = layers.Dense(4 * WIDTH, "gelu"), layers.Dense(WIDTH)

    def call(self, x):
        h = self.norms[0](x)
        x = x + self.attention(h, h, use_causal_mask=True)
        return x + self.down(self.up(self.norms[1](x)))


class GPT(tf.keras.Model):
    """Logits of the next letter at each position of a text (Radford et al., 2019)."""

    def __init__(self):
        super().__init__()
        self.letters = layers.Embedding(len(LETTERS), WIDTH)
        self.positions = layers.Embedding(CONTEXT, WIDTH)
        self.blocks = [Block() for _ in range(BLOCKS)]
        self.norm, self.head = layers.LayerNormalization(epsilon=1e-5), layers.Dense(len(LETTERS))

    def call(self, text):
        x = self.letters(text) + self.positions(tf.range(text.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def encode(lines):
    """Lines as letter indices: each after a newline, and padded with newlines."""
    return [[LETTERS.index(letter) for letter in ("\n" + line).ljust(CONTEXT + 1, "\n")]
            for line in lines]


def trainer(model, lines):
    """A function that runs a training step on a random batch of the lines."""
    texts = tf.constant(encode(lines))
    optimizer = tf.keras.optimizers.AdamW(0.003)

    @tf.function
    def step():
        batch = tf.gather(texts, tf.random.uniform((BATCH,), 0, len(lines), tf.int32))
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                batch[:, 1:], model(batch[:, :-1]))
            loss = tf.reduce_mean(losses)
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return loss

    return step


def sampler(model, rng):
    """A function that samples a line, letter by letter."""
    probabilities = tf.function(lambda text, last: tf.nn.softmax(
        model(text)[0] / TEMPERATURE)[last])

    def line():
        text = ""
        while not text.endswith("\n") and len(text) < CONTEXT:
            padded = tf.constant(encode([text]))[:, :-1]     # attention masks the padding
            weights = probabilities(padded, tf.constant(len(text))).tolist()
            text += rng.choices(LETTERS, weights)[0]
        return text.strip("\n")

    return line


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    tf.random.set_seed(options.seed)
    rng = random.Random(options.seed)
    model = GPT()
    step = trainer(model, [random_sentence(rng) for _ in range(2000)])

    start = time.perf_counter()
    for i in range(1, options.steps + 1):
        loss = step()
        if i % 50 == 0 or i == options.steps:
            print(f"step {i}: {float(loss) / math.log(2):.3f} bits per letter")
    seconds = time.perf_counter() - start

    sample = sampler(model, rng)
    lines = [sample() for _ in range(25)]
    for line in lines:
        print(" " if is_grammatical(line) else "?", line)
    print(f"grammatical sentences: {100 * sum(map(is_grammatical, lines)) / len(lines):.0f}%, "
          f"trained {seconds:.1f} s")


if __name__ == "__main__":
    main()
