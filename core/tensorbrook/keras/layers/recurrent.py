"""Recurrent layers: SimpleRNN, LSTM and GRU, each a compiled loop (scan) over the steps."""

from __future__ import annotations

from typing import Any

import tensorbrook as tf

from ...ops.control_flow import scan_loop
from .. import activations, argument_checks, initializers
from .layer import Layer, Shape, format_shape

States = tuple[tf.Tensor, ...]


class Recurrent(Layer):
    """Base class of recurrent layers: concatenated weights of all gates, and the loop over steps.

    Input (batch, steps, features), output (batch, units), or (batch, steps, units) with
    `return_sequences`. With `return_state` the result is a list of the output and the final states,
    which can be passed as `initial_state`. `dropout` applies to the inputs and `recurrent_dropout`
    to the states, with the same mask at every step. `unroll` and `use_cudnn` have no effect. Raises
    InvalidArgumentError for `stateful=True`, which is not supported.

    The products of the inputs with the kernel are computed for all steps at once, before the loop.
    """

    casts_to_float = True
    input_rank, input_format = (3, 3), "(batch, steps, features)"
    num_gates = 1  # the kernels have num_gates * units columns
    num_states = 1  # tensors that are carried from step to step

    def __init__(self, units: int, activation: Any = "tanh", use_bias: bool = True,
                 kernel_initializer: Any = "glorot_uniform",
                 recurrent_initializer: Any = "orthogonal", bias_initializer: Any = "zeros",
                 dropout: float = 0.0, recurrent_dropout: float = 0.0, seed: int | None = None,
                 return_sequences: bool = False, return_state: bool = False,
                 go_backwards: bool = False, stateful: bool = False, unroll: bool = False,
                 **kwargs: Any):
        super().__init__(**kwargs)
        self.units = argument_checks.require_int(self.display_name, "units", units)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.dropout = argument_checks.require_fraction(self.display_name, "dropout", dropout)
        self.recurrent_dropout = argument_checks.require_fraction(
            self.display_name, "recurrent_dropout", recurrent_dropout)
        self.seed = seed
        self._random = None if seed is None else tf.random.Generator(seed)
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful, self.unroll = go_backwards, stateful, unroll
        if stateful:
            raise self.error("stateful is True, which is not supported",
                             "use return_state=True and pass the states as initial_state")

    def build(self, input_shape: Any = None) -> None:
        features = self.checked_input_shape(input_shape)[-1]
        if features is None:
            raise self.error(f"the input has shape {format_shape(input_shape)}",
                             "its last size must be known")
        columns = self.num_gates * self.units
        self.kernel = self.add_weight((features, columns), self.kernel_initializer, name="kernel")
        self.recurrent_kernel = self.add_weight((self.units, columns), self.recurrent_initializer,
                                                name="recurrent_kernel")
        self.bias = self.add_weight(self.bias_shape, self.initial_bias, name="bias") \
            if self.use_bias else None

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (self.num_gates * self.units,)

    def initial_bias(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return self.bias_initializer(shape)

    def input_bias(self) -> tf.Tensor | tf.Variable | None:
        """The bias that is added to the products of the inputs, before the loop."""
        return self.bias

    def step(self, x: tf.Tensor, h: tf.Tensor, *states: tf.Tensor) -> States:
        """The next states, of which the first is the output.

        `x` holds the products of the inputs of this step, `states` the previous states, and `h` the
        previous output after dropout.
        """
        raise NotImplementedError

    def call(self, x: tf.Tensor, initial_state: Any = None, training: bool = False) -> Any:
        batch, _, features = x.shape
        if features != self.kernel.shape[0]:
            raise self.error(
                f"the input has shape {format_shape(x.shape)}",
                f"the layer was built for {self.kernel.shape[0]} features in the last axis")
        initial = self.initial_states(batch, initial_state, x.dtype)
        inputs = tf.transpose(x, (1, 0, 2))
        if training and self.dropout:
            inputs = inputs * self.dropout_mask(self.dropout, (batch, features), x.dtype)
        products, bias = tf.matmul(inputs, self.kernel), self.input_bias()
        if bias is not None:
            products = products + bias
        state_mask = self.dropout_mask(self.recurrent_dropout, (batch, self.units), x.dtype) \
            if training and self.recurrent_dropout else None

        def loop_body(states: States, x: tf.Tensor):
            h = states[0] if state_mask is None else states[0] * state_mask
            states = self.step(x, h, *states)
            return states, states[0] if self.return_sequences else ()

        final, outputs = scan_loop(loop_body, initial, products, reverse=self.go_backwards)
        out = final[0]
        if self.return_sequences:
            # As in Keras, the outputs are in the order of computation: last step first.
            out = tf.transpose(outputs[::-1] if self.go_backwards else outputs, (1, 0, 2))
        return [out, *final] if self.return_state else out

    def initial_states(self, batch: int, initial_state: Any, dtype: tf.DType) -> States:
        """The `initial_state` argument as a tuple of Tensors; zeros if it is None."""
        if initial_state is None:
            return (tf.zeros((batch, self.units), dtype),) * self.num_states
        is_sequence = isinstance(initial_state, list | tuple)
        states = tuple(map(tf.convert_to_tensor, initial_state if is_sequence else [initial_state]))
        shape = (batch, self.units)
        if [tuple(s.shape) for s in states] != [shape] * self.num_states:
            raise self.error(f"initial_state has shapes {[tuple(s.shape) for s in states]}",
                             f"it must be {self.num_states} of shape {shape}")
        return states

    def dropout_mask(self, rate: float, shape: tuple[int, int], dtype: tf.DType) -> tf.Tensor:
        """A random mask: 0 for a fraction `rate` of the elements, 1 / (1 - rate) for the others."""
        generator = self._random or tf.random.get_global_generator()
        scale = tf.constant(1.0 / (1.0 - rate), dtype)
        return tf.where(generator.uniform(shape) >= rate, scale, 0.0)

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, steps, _ = self.checked_input_shape(input_shape)
        out: Shape = (batch, steps, self.units) if self.return_sequences else (batch, self.units)
        return [out, *[(batch, self.units)] * self.num_states] if self.return_state else out


class SimpleRNN(Recurrent):
    """Simple recurrent layer: h = activation(x @ kernel + h @ recurrent_kernel + bias).

    See `Recurrent` for shapes and arguments.
    """

    def step(self, x: tf.Tensor, h: tf.Tensor, *states: tf.Tensor) -> States:
        return (self.activation(x + tf.matmul(h, self.recurrent_kernel)),)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; forget gate: Gers et al., 2000).

    The gates are in the order input, forget, cell, output; the states are the output and the cell.
    `unit_forget_bias` initializes the bias of the forget gate to 1. See `Recurrent` for shapes and
    arguments.

    >>> tf.keras.layers.LSTM(4)(tf.zeros((2, 5, 3))).shape
    (2, 4)
    """

    num_gates, num_states = 4, 2

    def __init__(self, units: int, activation: Any = "tanh", recurrent_activation: Any = "sigmoid",
                 use_bias: bool = True, kernel_initializer: Any = "glorot_uniform",
                 recurrent_initializer: Any = "orthogonal", bias_initializer: Any = "zeros",
                 unit_forget_bias: bool = True, use_cudnn: Any = "auto", **kwargs: Any):
        super().__init__(units, activation, use_bias, kernel_initializer, recurrent_initializer,
                         bias_initializer, **kwargs)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias, self.use_cudnn = unit_forget_bias, use_cudnn

    def initial_bias(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        if not self.unit_forget_bias:
            return self.bias_initializer(shape)
        n = self.units
        return tf.concat([self.bias_initializer((n,)), tf.ones(n), self.bias_initializer((2 * n,))],
                         0)

    def step(self, x: tf.Tensor, h: tf.Tensor, *states: tf.Tensor) -> States:
        i, f, c, o = tf.split(x + tf.matmul(h, self.recurrent_kernel), 4, axis=1)
        gate = self.recurrent_activation
        cell = gate(f) * states[1] + gate(i) * self.activation(c)
        return gate(o) * self.activation(cell), cell


class GRU(Recurrent):
    """Gated recurrent unit (arXiv:1406.1078); the gates are in the order update, reset, candidate.

    With `reset_after` (the default, as in Keras and cuDNN) the reset gate multiplies the product of
    the state, which has a separate bias; without it, the state before the product. See `Recurrent`
    for shapes and arguments.
    """

    num_gates = 3

    def __init__(self, units: int, activation: Any = "tanh", recurrent_activation: Any = "sigmoid",
                 use_bias: bool = True, kernel_initializer: Any = "glorot_uniform",
                 recurrent_initializer: Any = "orthogonal", bias_initializer: Any = "zeros",
                 reset_after: bool = True, use_cudnn: Any = "auto", **kwargs: Any):
        super().__init__(units, activation, use_bias, kernel_initializer, recurrent_initializer,
                         bias_initializer, **kwargs)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after, self.use_cudnn = reset_after, use_cudnn

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def input_bias(self) -> tf.Tensor | tf.Variable | None:
        return self.bias[0] if self.bias is not None and self.reset_after else self.bias

    def step(self, x: tf.Tensor, h: tf.Tensor, *states: tf.Tensor) -> States:
        n, gate, kernel = self.units, self.recurrent_activation, self.recurrent_kernel
        if self.reset_after:
            inner = tf.matmul(h, kernel)
            if self.bias is not None:
                inner = inner + self.bias[1]
            update, reset = gate(x[:, :n] + inner[:, :n]), gate(x[:, n:2 * n] + inner[:, n:2 * n])
            new = self.activation(x[:, 2 * n:] + reset * inner[:, 2 * n:])
        else:
            gates = gate(x[:, :2 * n] + tf.matmul(h, kernel[:, :2 * n]))
            update, reset = gates[:, :n], gates[:, n:]
            new = self.activation(x[:, 2 * n:] + tf.matmul(reset * h, kernel[:, 2 * n:]))
        return (update * states[0] + (1.0 - update) * new,)
