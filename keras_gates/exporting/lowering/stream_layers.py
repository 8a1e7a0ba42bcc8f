"""Layers other than recurrent ones that look over time, called event by event: convolutions, pooling, reshapes.

A convolution keeps the events that its next window needs; a pooling over the whole sequence keeps its value so far. These
memories are inputs and outputs of the step function like STM and LTM, and start at zero. Until the first window of a
convolution without padding is complete, what follows it stays at its start: its memories are multiplied by 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from keras_gates import _compat
from keras_gates.exporting.lowering.masks import Change

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.DepthwiseConv1D, keras.layers.SeparableConv1D)
_POOLING = (keras.layers.MaxPooling1D, keras.layers.AveragePooling1D)
COUNTED = 128  # events that an average in integers counts; each later one has the weight of the last of them


@dataclass
class StreamMemory:
    """The memories of these layers in one run, in the order of their calls.

    Attributes:
        events: time steps per call.
        before: their values before the run; None is zeros.
        integers: activations are integers, which cannot be divided.
        after: their values after the run.
        names: the layer of each memory.
        warmup: calls after the reset whose predictions are not valid, because a convolution's first window is not complete.
        invalid: outputs of the last windowed layer before its first whole window.
        within: why that window ends within a call, so that only another strided layer can follow; empty if it does not.
    """

    events: int
    before: Sequence[tf.Tensor] | None = None
    integers: bool = False
    after: list[tf.Tensor] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    warmup: int = 0
    invalid: int = 0
    within: str = ""

    def take(self, layer: keras.layers.Layer, shape: Sequence[int]) -> tf.Tensor:
        """Return the layer's next memory."""
        self.names.append(layer.name)
        return tf.zeros(shape) if self.before is None else self.before[len(self.names) - 1]


class NotInStreams(ValueError):
    """A layer cannot run event by event; the message says why."""


def stride_of(model: keras.Model) -> int:
    """Return the number of events from one output of the strided layers over time to the next, 1 without any."""
    inner = {
        id(part)
        for layer in _compat.flatten_layers(model)
        if isinstance(layer, keras.layers.TimeDistributed)
        for part in _compat.flatten_layers(layer, include_self=False)
    }
    strides = [
        layer.strides[0]
        for layer in _compat.flatten_layers(model)
        if isinstance(layer, _CONVOLUTIONS + _POOLING) and id(layer) not in inner
    ]
    return math.prod(strides)


class StreamLayers:
    """The calls that take the place of the layers' own while one run of a model in a stream lasts.

    Args:
        memory: Takes and gives the memories.
        steps: The number of time steps that the model fixes, None if it leaves time open.
        is_local: Returns whether the current call is inside TimeDistributed, where time is another.
    """

    def __init__(self, memory: StreamMemory, steps: int | None, is_local: Callable[[], bool]) -> None:
        self._memory, self._steps, self._is_local = memory, steps, is_local
        self._padded: dict[int, tuple[tf.Tensor, int]] = {}
        self._ready: tuple[tf.Tensor, tf.Tensor] | None = None  # 1 or 0: in this call, and in the one before

    def layer_changes(self, layer: keras.layers.Layer) -> list[Change]:
        """Return the changes for one layer."""
        if isinstance(layer, _CONVOLUTIONS):
            spaced = layer.dilation_rate[0] if hasattr(layer, "dilation_rate") else 1
            return self._windowed(layer, (layer.kernel_size[0] - 1) * spaced + 1)
        if isinstance(layer, _POOLING):
            return self._windowed(layer, layer.pool_size[0])
        calls = {
            keras.layers.ZeroPadding1D: self._zeros,
            keras.layers.GlobalMaxPooling1D: self._largest,
            keras.layers.GlobalAveragePooling1D: self._average,
            keras.layers.Reshape: self._reshaped,
        }
        make = calls.get(type(layer))
        return [] if make is None else [(layer, "call", self._outside(layer, make(layer)))]

    def operation_changes(self, operation: keras.Operation) -> list[Change]:
        """Return the changes for one operation of a functional graph: `keras.ops.reshape` to the whole sequence."""
        shape: tuple[int, ...] = getattr(operation, "newshape", ())
        if type(operation).__name__ != "Reshape" or len(shape) < 2 or self._steps is None or shape[1] != self._steps:
            return []

        def reshape(x: tf.Tensor) -> tf.Tensor:
            return tf.reshape(x, (shape[0], self._memory.events, *shape[2:]))

        return [(operation, "call", reshape)]

    def _outside(self, layer: keras.layers.Layer, call: Callable) -> Callable:
        own = layer.call
        return lambda x, *args, **rest: own(x, *args, **rest) if self._is_local() else call(x)

    def gated(self, memory: Any) -> Any:
        """Return memories of a layer, as zeros until what comes before it had its first whole window."""
        if self._memory.within:
            raise NotInStreams(self._memory.within)
        if self._ready is None:
            return memory
        before = self._ready[1]
        return tf.nest.map_structure(lambda x: x * tf.reshape(before, (-1,) + (1,) * (len(x.shape) - 1)), memory)

    def _take(self, layer: keras.layers.Layer, shape: Sequence[int]) -> tf.Tensor:
        return self.gated(self._memory.take(layer, shape))

    def _wait(self, layer: keras.layers.Layer, batch: int, invalid: int, outputs: int) -> None:
        """Note that the first outputs of a windowed layer are not valid.

        A shift register of ones, because 0 and 1 are exact in integers and a count is not.
        """
        calls = -(-invalid // outputs)
        if more := max(calls - self._memory.warmup, 0):
            now = tf.ones((batch, 1)) if self._ready is None else self._ready[0]
            register = tf.concat([self._memory.take(layer, (batch, more + 1)), now], 1)
            self._memory.after.append(register[:, 1:])
            self._memory.warmup += more
            self._ready = register[:, 1:2], register[:, :1]
        self._memory.invalid, self._memory.within = invalid, ""
        if invalid and outputs > 1:
            self._memory.within = (
                f"the first window of {layer.name} ends in the middle of a call; pass fewer steps, or put ZeroPadding1D "
                "before it"
            )

    def _windowed(self, layer: keras.layers.Layer, window: int) -> list[Change]:
        stride, padding, own = layer.strides[0], layer.padding, layer.call

        def call(x: tf.Tensor) -> tf.Tensor:
            zeros = self._padded.pop(id(x), (x, 0))[1] + (window - 1 if padding == "causal" else 0)
            if padding == "same" and window > stride:
                raise NotInStreams("padding='same' looks at later events; use padding='causal'")
            if x.shape[1] % stride:
                raise NotInStreams(f"it takes a multiple of {stride} events; pass steps={stride}")
            if window <= zeros:
                raise NotInStreams(f"more zeros precede it than its window of {window} holds")
            if zeros and self._memory.within:
                raise NotInStreams(self._memory.within)
            batch, size, before = x.shape[0], x.shape[1], self._memory.invalid
            # The first whole window begins after the invalid inputs, and every window ends within its call.
            invalid = max(-(-(window - stride - zeros + before) // stride), 0)
            front = invalid * stride - before + zeros
            if front > 0:
                take = self._memory.take if self._memory.within else self._take
                x = tf.concat([take(layer, (batch, front, x.shape[2])), x], 1)
                self._memory.after.append(x[:, -front:])
            self._wait(layer, batch, invalid, size // stride)
            return own(x[:, -front:] if front < 0 else x)

        changes: list[Change] = [(layer, "call", self._outside(layer, call))]
        return changes if padding != "causal" else [*changes, (layer, "padding", "valid")]

    def _zeros(self, layer: keras.layers.ZeroPadding1D) -> Callable:
        before, after = layer.padding

        def call(x: tf.Tensor) -> tf.Tensor:
            if after:
                raise NotInStreams("it pads the end of the sequence, which a stream does not have; pad its start alone")
            x = tf.identity(x)
            self._padded[id(x)] = (x, before)
            return x

        return call

    def _largest(self, layer: keras.layers.GlobalMaxPooling1D) -> Callable:
        def call(x: tf.Tensor) -> tf.Tensor:
            if self._memory.integers and x.shape[1] == 1:  # TFLM has neither REDUCE_MAX nor MAXIMUM in 16 bits
                now = x if layer.keepdims else x[:, 0]
                value, seen = self._take(layer, now.shape), self._take(layer, (x.shape[0], 2))
                begun = tf.reshape(seen[:, :1], (x.shape[0],) + (1,) * (len(now.shape) - 1))
                value = now + tf.nn.relu(value * begun - now * begun)
                self._memory.after += [value, tf.concat([tf.ones_like(seen[:, :1]), seen[:, :1]], 1)]
                return value
            now = tf.reduce_max(x, axis=1, keepdims=layer.keepdims)
            value, count = self._take(layer, now.shape), self._take(layer, (x.shape[0], 1))
            # zeros are the value so far only after the first event
            begun = tf.reshape(tf.minimum(count, 1.0), (x.shape[0],) + (1,) * (len(now.shape) - 1))
            value = tf.maximum(value * begun + now * (1 - begun), now)
            self._memory.after += [value, tf.minimum(count + 1.0, 1.0)]
            return value

        return call

    def _average(self, layer: keras.layers.GlobalAveragePooling1D) -> Callable:
        def call(x: tf.Tensor) -> tf.Tensor:
            now = tf.reduce_mean(x, axis=1, keepdims=layer.keepdims)
            value = self._take(layer, now.shape)
            shape = (x.shape[0],) + (1,) * (len(now.shape) - 1)
            if self._memory.integers:
                seen = self._take(layer, (x.shape[0], COUNTED))
                root = tf.reshape(_root_of_share(seen), shape)
                value = value + (now - value) * root * root
                after = tf.concat([tf.ones((x.shape[0], 1)), seen[:, :-1]], 1)
            else:
                count = self._take(layer, (x.shape[0], 1))
                value = value + (now - value) * tf.reshape(1.0 / (count + 1.0), shape)
                after = count + 1.0
            self._memory.after += [value, after]
            return value

        return call

    def _reshaped(self, layer: keras.layers.Reshape) -> Callable:
        own = layer.call

        def call(x: tf.Tensor) -> tf.Tensor:
            shape, steps = layer.target_shape, getattr(layer, "input", x).shape[1]  # in the model, not in this call
            if steps is None or shape[0] != steps:
                return own(x)
            return tf.reshape(x, (x.shape[0], x.shape[1], *shape[1:]))

        return call


def _root_of_share(seen: tf.Tensor) -> tf.Tensor:
    """Return `(n + 1) ** -0.5` `(batch, 1)` for `seen` `(batch, COUNTED)`, which begins with n ones.

    A table in a matrix product: integers have no division. The root, because int8 rounds 1/100 by a fifth and 1/10 by 4 %.
    """
    first = tf.concat([tf.ones_like(seen[:, :1]), seen], 1)
    place = first - tf.concat([seen, tf.zeros_like(seen[:, :1])], 1)
    return tf.matmul(place, tf.constant([[(n + 1) ** -0.5] for n in range(COUNTED + 1)], tf.float32))
