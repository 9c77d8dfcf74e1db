"""Layer base class: weights that are created on the first call, and a `call` that uses them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import tensorbrook as tf

from ...base import dtypes
from ...base.errors import InvalidArgumentError, ResourceExhaustedError
from ...base.task_local import register_stack
from ...ir import TensorSpec
from ...tensor import context
from ...trace import Trace
from .. import (
    activations, argument_checks, auto_names, data_conversion, dtype_policies, initializers)

Shape = tuple[int | None, ...]

# The `training` flag of each nested call, the innermost last.
_training_flags: list[bool] = register_stack([])


class KerasTensor:
    """A placeholder for the input of a model, made by `Input`: shape with the batch, and dtype."""

    def __init__(self, shape: Shape, dtype: Any = "float32", name: str | None = None):
        self.shape, self.dtype = tuple(shape), dtype
        self.name = name or auto_names.unique_name("keras_tensor")

    def __repr__(self):
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


def _eager_build(build: Callable) -> Callable:
    """Wrap `build` so that it creates its weights eagerly, even while a step is traced."""
    @functools.wraps(build)
    def wrapped(self: Layer, input_shape: Any = None) -> None:
        with tf.init_scope(), dtype_policies.autocast(None):
            build(self, input_shape)
        self.built = True

    return wrapped


class Layer:
    """Base class of layers: override `build` to create weights and `call` to compute with them.

    The first call builds the layer. `dtype` is a dtype or a policy such as "mixed_float16".
    `call` receives `training` if it has an argument of that name.

    >>> class Scale(tf.keras.layers.Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")
    ...     def call(self, x):
    ...         return x * self.factor
    """

    casts_to_float = False  # cast integer inputs to the compute dtype
    autocast = True  # cast floating-point inputs and weights to the compute dtype
    input_rank: tuple[int, int | None] = (0, None)  # minimum and maximum rank of the input
    input_format = ""  # description of the input's axes, for errors

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = _eager_build(cls.__dict__["build"])

    def __init__(self, *, name: str | None = None, trainable: bool = True, dtype: Any = None,
                 input_shape: Any = None, **kwargs: Any):
        argument_checks.reject_unknown(self, kwargs)
        self.name = name or auto_names.unique_name(auto_names.snake_case(type(self).__name__))
        self._policy = dtype_policies.get(dtype)
        self.built = False
        self._trainable = bool(trainable)
        self._weights: list[tf.Variable] = []
        self._input_shape_argument = None if input_shape is None else (None, *input_shape)

    # ── overridden by each kind of layer ──

    def build(self, input_shape: Any = None) -> None:
        """Create the weights for inputs of a shape, whose first size (the batch) is None."""
        self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output from the inputs."""
        raise NotImplementedError(f"{self.display_name}: the layer has no `call`; override "
                                  "`def call(self, x)`")

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The output shape for an input shape; by default found by tracing `call`."""
        shape = self.checked_input_shape(input_shape)
        if not self.built:
            self.build(shape)
        trace, spec = Trace(), TensorSpec((1, *(n or 1 for n in shape[1:])), self._compute_tf_dtype)
        with context(trace), self._autocast_scope():
            out = self.call(trace.placeholder(spec))
        return (shape[0], *out.shape[1:])

    # ── calling ──

    def __call__(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        if args:
            args = (self.prepare_input(args[0]), *args[1:])
        if self.autocast:
            args = data_conversion.autocast(args, self._compute_tf_dtype)
            kwargs = data_conversion.autocast(kwargs, self._compute_tf_dtype)
        if not self.built:
            shape = args[0].shape if args and hasattr(args[0], "shape") else None
            self.build(None if shape is None else (None, *shape[1:]))
        if training is None:
            training = bool(_training_flags and _training_flags[-1])
        if self._call_takes_training:
            kwargs["training"] = training
        with _training_scope(training), self._autocast_scope():
            return self.call(*args, **kwargs)

    def _autocast_scope(self) -> Any:
        """Within the block, weights are read as the layer's compute dtype."""
        is_mixed = self.autocast and self.compute_dtype != self.variable_dtype
        return dtype_policies.autocast(self._compute_tf_dtype if is_mixed else None)

    @functools.cached_property
    def _call_takes_training(self) -> bool:
        parameters = inspect.signature(self.call).parameters.values()
        return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)

    def prepare_input(self, x: Any) -> Any:
        """The input as a Tensor of a valid rank; lists and dicts of tensors are unchanged."""
        if isinstance(x, KerasTensor):
            raise InvalidArgumentError(self.display_name, "it was called on tf.keras.Input",
                                       "pass both to tf.keras.Sequential([...])")
        if isinstance(x, dict) or isinstance(x, list | tuple) and _is_tensor_list(x):
            return x
        x = self.to_compute_dtype(x) if self.casts_to_float else \
            data_conversion.to_tensor(x, self._compute_tf_dtype if self.autocast else tf.float32)
        self.checked_input_shape(x.shape)
        return x

    def to_compute_dtype(self, x: Any) -> tf.Tensor:
        """Scalars, lists, arrays or tensors as a Tensor of the layer's compute dtype."""
        return data_conversion.to_float(x, self._compute_tf_dtype)

    # ── dtypes ──

    @property
    def dtype_policy(self) -> dtype_policies.DTypePolicy:
        """The compute dtype and the variable dtype; set it before the layer is built."""
        return self._policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        self._policy = dtype_policies.get(value)

    @property
    def compute_dtype(self) -> str:
        return self._policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        return self._policy.variable_dtype

    dtype = property(lambda self: self.variable_dtype)
    input_dtype = property(lambda self: self.compute_dtype)

    @property
    def _compute_tf_dtype(self) -> tf.DType:
        return dtypes.as_dtype(self.compute_dtype)

    @property
    def display_name(self) -> str:
        """Class and name, as errors show them: `Conv2D conv2d_1`."""
        return f"{type(self).__name__} {self.name}"

    def error(self, problem: str, hint: str) -> InvalidArgumentError:
        return InvalidArgumentError(self.display_name, problem, hint)

    def check_data_format(self, data_format: Any) -> str:
        """The `data_format` argument; layers support "channels_last" alone."""
        return argument_checks.require_choice(
            self.display_name, "data_format", data_format or "channels_last", ("channels_last",))

    def checked_input_shape(self, shape: Any) -> Shape:
        """The input's shape as a tuple; InvalidArgumentError unless its rank is valid."""
        shape = tuple(shape)
        minimum, maximum = self.input_rank
        if len(shape) < minimum or maximum is not None and len(shape) > maximum:
            raise self.error(f"the input has shape {format_shape(shape)}",
                             f"it must be {self.input_format}")
        return shape

    # ── weights ──

    def add_weight(self, shape: Any = None, initializer: Any = None, dtype: Any = None,
                   trainable: bool = True, *, name: str | None = None,
                   autocast: bool = True) -> tf.Variable:
        """Create a Variable that belongs to this layer: `self.add_weight((3, 4), name="kernel")`.

        The default initializer is "glorot_uniform", the default dtype the policy's variable dtype.
        Without `autocast` the weight is read in its own dtype, whatever the compute dtype.
        Raises InvalidArgumentError for an unknown size in the shape, and ResourceExhaustedError if
        the weight does not fit into memory.
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape or ())
        name = name or "variable"
        if any(not isinstance(n, int) or n < 0 for n in shape):
            raise self.error(f"{name} would have shape {format_shape(shape)}",
                             "every size must be an integer; define the input's shape")
        variable_dtype = dtypes.as_dtype(dtype or self.variable_dtype)
        size_bytes = variable_dtype.size * prod(shape)
        try:
            if size_bytes >= argument_checks.MAX_TENSOR_BYTES:
                raise MemoryError
            with tf.init_scope():
                value = initializers.get(initializer or "glorot_uniform")(shape)
                weight = dtype_policies.AutocastVariable(
                    tf.cast(value, variable_dtype), trainable, name=name, autocast=autocast)
        except MemoryError:
            size = argument_checks.readable_size(size_bytes)
            raise ResourceExhaustedError(
                self.display_name, f"{name} of shape {shape} needs {size}",
                "use fewer units or filters, or pool the input first") from None
        self._weights.append(weight)
        return weight

    def _tracked(self, kind: type) -> list[Any]:
        """The Variables or the layers in the attributes of this layer, without duplicates."""
        by_id = {id(v): v for v in _walk_nested(self.__dict__) if isinstance(v, kind)}
        return list(by_id.values())

    def nested_layers(self) -> list[Layer]:
        """The layers within this layer, and recursively the layers within them."""
        inner = self._tracked(Layer)
        return inner + [deeper for layer in inner for deeper in layer.nested_layers()]

    @property
    def weights(self) -> list[tf.Variable]:
        """All weights: its own, trainable ones first, then the weights of the layers within."""
        own = sorted(self._tracked(tf.Variable), key=lambda v: not v.trainable)
        inner = [w for layer in self._tracked(Layer) for w in layer.weights]
        return list({id(w): w for w in own + inner}.values())

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        """The weights that training updates; empty if the layer is not trainable."""
        if not self.trainable:
            return []
        own = [v for v in self._tracked(tf.Variable) if v.trainable]
        inner = [w for layer in self._tracked(Layer) for w in layer.trainable_weights]
        return list({id(w): w for w in own + inner}.values())

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """The weights that training does not update."""
        trainable = set(map(id, self.trainable_weights))
        return [w for w in self.weights if id(w) not in trainable]

    variables = property(lambda self: self.weights)
    trainable_variables = property(lambda self: self.trainable_weights)
    non_trainable_variables = property(lambda self: self.non_trainable_weights)

    @property
    def trainable(self) -> bool:
        """Whether training updates the weights; set for the layers within too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in self._tracked(Layer):
            layer.trainable = value

    def count_params(self) -> int:
        """The number of elements of all weights; InvalidArgumentError if it is not built."""
        if not self.built:
            raise self.error("its weights are not created yet",
                             "call it on data or call build(input_shape) first")
        return sum(prod(w.shape) for w in self.weights)

    def get_weights(self) -> list[Any]:
        """The values of `weights`: NumPy arrays, or Tensors if NumPy is not installed."""
        return data_conversion.to_results(self.weights)

    def set_weights(self, weights: Any) -> None:
        """Assign a list of arrays to `weights`; InvalidArgumentError if a shape differs."""
        own = self.weights
        if len(own) != len(weights):
            raise self.error(f"{len(weights)} arrays were passed for {len(own)} weights",
                             "pass one array for each of layer.weights, in the same order")
        values = [data_conversion.to_tensor(value) for value in weights]
        for weight, value in zip(own, values):
            if tuple(weight.shape) != tuple(value.shape):
                raise self.error(f"{weight.name} has shape {tuple(weight.shape)}, its array "
                                 f"{tuple(value.shape)}", "the shapes must be equal")
        for weight, value in zip(own, values):
            weight.assign(tf.cast(value, weight.dtype))

    # ── configuration ──

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor as plain data, without the weights."""
        names = argument_checks.constructor_arguments(type(self))
        config = {n: _to_config_value(getattr(self, n)) for n in names if hasattr(self, n)}
        own = {"name": self.name, "trainable": self.trainable}
        return own | config | {"dtype": self.dtype_policy.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        return cls(**config)

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


@contextmanager
def _training_scope(training: bool) -> Iterator[None]:
    """Set the `training` flag of the layers called within the block."""
    depth = len(_training_flags)
    try:
        _training_flags.append(bool(training))
        yield
    finally:
        del _training_flags[depth:]  # correct even if an interrupt came before the append


def _walk_nested(value: Any) -> Iterator[Any]:
    """The leaves of nested lists, tuples and dicts."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for element in value:
            yield from _walk_nested(element)
    else:
        yield value


def _is_tensor_list(values: Any) -> bool:
    return any(isinstance(v, tf.Tensor | tf.Variable) and v.shape for v in values)


def _to_config_value(value: Any) -> Any:
    """An argument as plain data, in Keras's format."""
    if isinstance(value, initializers.Initializer):
        return initializers.serialize(value)
    return activations.serialize(value) if callable(value) else value


def format_shape(shape: Any) -> str:
    """A shape as Python prints a tuple."""
    return str(tuple(shape))
