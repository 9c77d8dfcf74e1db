"""Training steps in JAX: a jitted function from state to state."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class State(NamedTuple):
    parameters: Any
    means: Any
    squares: Any
    t: jax.Array


def initial_state(parameters) -> State:
    """The state before the first step: zero moments."""
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    return State(parameters, zeros, jax.tree.map(jnp.zeros_like, parameters), jnp.float32(0))


def cross_entropy(logits, labels):
    """The mean cross entropy over all rows."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], -1)
    return -chosen.mean()


@partial(jax.jit, static_argnums=2, donate_argnums=0)
def update(state: State, gradients, decay: float = 0.0) -> State:
    """One step of Adam, or of AdamW with a weight decay."""
    t = state.t + 1
    rate = 0.001 * jnp.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
    means = jax.tree.map(lambda m, g: m + (g - m) * 0.1, state.means, gradients)
    squares = jax.tree.map(lambda v, g: v + (g * g - v) * 0.001, state.squares, gradients)
    parameters = jax.tree.map(
        lambda p, m, v: p * (1 - 0.001 * decay) - rate * m / (jnp.sqrt(v) + 1e-7),
        state.parameters, means, squares)
    return State(parameters, means, squares, t)


def training(loss, parameters, x, y, checked_steps: int, decay: float = 0.0):
    """Training steps that minimize `loss(parameters, x, y)`."""
    @partial(jax.jit, donate_argnums=0)
    def advance(state, x, y):
        value, gradients = jax.value_and_grad(loss)(state.parameters, x, y)
        return value, update(state, gradients, decay)

    state_cell = [initial_state(parameters)]
    x, y = jnp.asarray(x), jnp.asarray(y)

    def step():
        value, state_cell[0] = advance(state_cell[0], x, y)
        return value.block_until_ready()
    return step, lambda: [float(step()) for _ in range(checked_steps)]
