"""A Keras model as a TensorFlow function whose recurrent layers run as the export chose.

The model itself is called, whatever its kind (sequential, functional, nested, subclassed), while its layers' loops are
replaced for the time of the call; nothing of the model changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from keras_gates import _compat
from keras_gates._patch import patched
from keras_gates.exporting.lowering import recurrent, wrappers
from keras_gates.exporting.lowering.activations import integer_activation
from keras_gates.exporting.lowering.fused_lstm import fused_lstm
from keras_gates.exporting.lowering.masks import Change, MaskTracker, Padding
from keras_gates.exporting.lowering.stream_layers import StreamLayers, StreamMemory

_MOST_JOINED = 10
_POOLING = (
    keras.layers.MaxPooling1D, keras.layers.AveragePooling1D, keras.layers.MaxPooling2D, keras.layers.AveragePooling2D
)  # fmt: skip
_JOINING = ("Concatenate", "Stack", "Maximum", "Minimum", "Vstack", "Hstack")


@dataclass
class LoopCall:
    """One call of one recurrent layer.

    Attributes:
        layer: the layer.
        masked: "", "padding" (only at the end, so that lengths describe it) or "mask" (computed in the model).
        given_state: the call passes an initial state.
        local: inside TimeDistributed, so that it starts from zero states at every event.
        ltm: its last LTM (cell state), while the model is traced.
        ltm_read: the model uses that LTM.
    """

    layer: keras.layers.RNN
    masked: str = ""
    given_state: bool = False
    local: bool = False
    ltm: Any = None
    ltm_read: bool = False

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name


@dataclass
class LoweredRun:
    """One run of the model's graph: flat results, recurrent calls in their order, memories after the run."""

    results: list[tf.Tensor] = field(default_factory=list)
    calls: list[LoopCall] = field(default_factory=list)
    memories: list[list[tf.Tensor]] = field(default_factory=list)


class LoweredModel:
    """A model that is called with its recurrent layers lowered.

    Args:
        model: a built Keras model.
        guard: multiply operands before every join of tensors, for integer quantization (`wrappers.guarded`).
        trained: in integers: the article's gates are computed one by one, as they were trained.
        stream: masks are dropped: every event counts.
        tflm16: for TFLM in 16 bits, which has neither REDUCE_MAX nor HARD_SWISH there.
        watch: two functions to call for every layer outside TimeDistributed: before it with the layer, and after it with
            the layer and its output.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        guard: bool = False,
        trained: bool = False,
        stream: bool = False,
        tflm16: bool = False,
        watch: tuple[Callable, Callable] | None = None,
    ) -> None:
        self.model = model
        self.guard = guard
        self.stream = stream
        self.tflm16 = tflm16
        self.watch = watch
        self.layers = recurrent.lowerable_layers(model)
        cells = [cell for layer in self.layers for cell in recurrent.cells_of(layer)]
        self.weights = {id(cell): recurrent.standard_weights(cell) for cell in cells}
        self.article = {id(cell): recurrent.article_weights(cell) for cell in cells if trained}

    def run(
        self,
        inputs: Any,
        lowerings: Sequence[str] | str,
        paddings: dict[int, Padding] | None = None,
        memories: list[list[tf.Tensor]] | None = None,
        layer_memory: StreamMemory | None = None,
    ) -> LoweredRun:
        """Call the model inside a TensorFlow function.

        Args:
            inputs: What the model takes, batch and time static.
            lowerings: The lowering of every recurrent call in the order of calls, or one for all.
            paddings: The padding of an input, by `id` of its tensor.
            memories: For the lowering "step": the states of every recurrent call that is not local.
            layer_memory: In a stream: what convolutions and pooling remember.
        """
        trace = _Trace(self, lowerings, MaskTracker(paddings or {}, self.stream), list(memories or []))
        if layer_memory is not None:
            steps = next((x.shape[1] for x in getattr(self.model, "inputs", None) or () if len(x.shape) > 1), None)
            trace.stream_layers = StreamLayers(layer_memory, steps, lambda: bool(trace.wrapping.depth))
        with patched(trace.changes()):
            trace.done.results = tree.flatten(self.model(inputs, training=False))
        return trace.done


class _Trace:
    """The state of one run, and the functions that take the place of layers' own while it lasts."""

    def __init__(
        self, lowered: LoweredModel, lowerings: Sequence[str] | str, masks: MaskTracker, memories: list[list[tf.Tensor]]
    ) -> None:
        self.lowered, self.lowerings, self.masks, self.memories = lowered, lowerings, masks, memories
        self.wrapping = wrappers.WrapperState()
        self.given_state: list[bool] = []
        self.done = LoweredRun()
        self.stream_layers: StreamLayers | None = None

    def changes(self) -> list[Change]:
        """Return what is to be replaced in the model's layers."""
        changes: list[Change] = []
        for layer in self.lowered.layers:
            changes += [
                (layer, "inner_loop", self._loop_of(layer)),
                (layer, "call", self._noting_state(layer.call)),
                (layer, "stateful", False),
                (layer, "unroll", False),
                *_compat.without_dropout_masks(layer),
            ]
        layers = _compat.flatten_layers(self.lowered.model)
        for layer in layers:
            changes += self._layer_changes(layer)
        return changes + self._watching(layers, changes)

    def _layer_changes(self, layer: keras.layers.Layer) -> list[Change]:
        changes: list[Change] = []
        if layer.compute_dtype in ("float16", "bfloat16", "float64"):
            changes += _compat.with_dtype(layer, "float32")
        if isinstance(layer, keras.Model):
            changes += _compat.without_input_checks(layer)
            for operation in getattr(_compat.functional_graph(layer), "operations", ()):
                name = type(operation).__name__
                if name in _JOINING:
                    changes += _joining_changes(operation, self.lowered.guard)
                else:
                    if self.lowered.guard and not isinstance(operation, keras.layers.Layer):
                        changes += integer_activation(operation, self.lowered.tflm16)
                    changes += self.masks.operation_changes(operation)
                    changes += self.stream_layers.operation_changes(operation) if self.stream_layers else []
        elif isinstance(layer, keras.layers.Bidirectional):
            changes.append((layer, "call", wrappers.bidirectional_call(layer, self.wrapping, self.lowered.guard)))
        elif isinstance(layer, keras.layers.TimeDistributed):
            changes.append((layer, "call", wrappers.time_distributed_call(layer.layer, self.wrapping)))
        else:
            if self.lowered.guard:
                changes += integer_activation(layer, self.lowered.tflm16)
                if isinstance(layer, keras.layers.GRUCell):  # a product per gate: SPLIT stays in float in a decoder
                    changes.append((layer, "implementation", 1))
            changes += self.masks.layer_changes(layer)
            changes += self.stream_layers.layer_changes(layer) if self.stream_layers else []
            if (
                isinstance(layer, _POOLING)
                and self.lowered.guard
                and any(rnn.go_backwards for rnn in self.lowered.layers)
            ):
                # The quantizer gives a pooling's output the scale of its input, but a reversal after it another one.
                changes.append((layer, "call", _guarded_output(layer.call)))
            if self.lowered.tflm16 and type(layer) is keras.layers.GlobalMaxPooling1D and not self.stream_layers:
                changes.append((layer, "call", _largest(layer.keepdims)))
            if type(layer) is keras.layers.RepeatVector:  # PACK: TFLM lacks TILE
                changes.append((layer, "call", _repeated(layer.n, self.lowered.guard)))
            if (
                isinstance(layer, keras.layers.Embedding)
                and type(layer).call is keras.layers.Embedding.call
                and layer.quantization_mode is None
            ):
                changes.append((layer, "call", _looked_up(layer)))
        return changes

    def _watching(self, layers: list[keras.layers.Layer], changes: list[Change]) -> list[Change]:
        if not self.lowered.watch:
            return []
        before, after = self.lowered.watch
        calls = {id(layer): call for layer, name, call in changes if name == "call"}
        inner = {id(part) for rnn in self.lowered.layers for part in _compat.flatten_layers(rnn, include_self=False)}

        def watched(layer: keras.layers.Layer, call: Callable) -> Callable:
            def observed(*args, **rest):
                outermost = not self.wrapping.depth
                if outermost:
                    before(layer)
                output = call(*args, **rest)
                if outermost:
                    after(layer, output)
                return output

            return observed

        return [
            (layer, "call", watched(layer, calls.get(id(layer), layer.call)))
            for layer in layers
            if not isinstance(layer, keras.Model) and id(layer) not in inner
        ]

    def _noting_state(self, call: Callable) -> Callable:
        # inner_loop always gets states; only the layer's call shows whether the model passed them
        def noted(sequences, initial_state=None, **rest):
            self.given_state.append(initial_state is not None)
            return call(sequences, initial_state=initial_state, **rest)

        return noted

    def _loop_of(self, layer: keras.layers.RNN) -> Callable:
        def loop(sequences, initial_state, mask=None, training=False):
            mask = tree.flatten(mask)[0] if tree.flatten(mask) else None
            padding = self.masks.padding_of(mask)
            masked = "" if mask is None else "mask" if padding is None else "padding"
            call = LoopCall(layer, masked, self.given_state.pop(), bool(self.wrapping.depth))
            lowering = self.lowerings if isinstance(self.lowerings, str) else self.lowerings[len(self.done.calls)]
            self.done.calls.append(call)
            if lowering == "step" and not call.local:
                return self._step(layer, sequences)
            if lowering == "fused":
                return self._fused(call, sequences, padding, initial_state)
            if lowering in ("unrolled", "step") and masked != "mask":
                events = sequences
                if padding is not None and layer.go_backwards:
                    events = padding.reverse(sequences)
                last, outputs, states = self._unrolled(layer, events, initial_state, padding)
                last, outputs = self._as_keras(layer, last, outputs, padding)
            else:
                with patched([(layer, "unroll", lowering != "while")]):
                    last, outputs, states = recurrent.run_loop(layer, sequences, initial_state, mask)
            states = list(states)
            if len(states) > 1:
                # an operation of its own, so that `signatures.trace_calls` can see whether the results depend on the LTM
                call.ltm = states[1] = tree.map_structure(tf.identity, states[1])
            return last, outputs, states

        return loop

    def _as_keras(self, layer: keras.layers.RNN, last: Any, outputs: Any, padding: Padding | None) -> tuple[Any, Any]:
        if padding is None:
            return last, outputs
        if self.wrapping.align:
            self.wrapping.aligned = True
            return padding.last(outputs), padding.in_order(outputs)
        return padding.last(outputs), padding.every(outputs, layer.go_backwards, layer.zero_output_for_mask)

    def _unrolled(self, layer: keras.layers.RNN, events: tf.Tensor, states: list, padding: Padding | None) -> tuple:
        known = (each.get(id(layer.cell)) for each in (self.lowered.weights, self.lowered.article))
        return recurrent.run_unrolled(layer, next(known), events, states, padding, next(known))

    def _step(self, layer: keras.layers.RNN, sequences: tf.Tensor) -> tuple:
        before = self.memories.pop(0)
        if self.stream_layers is not None:
            before = self.stream_layers.gated(before)
        last, outputs, states = self._unrolled(layer, sequences, before, None)
        self.done.memories.append(states)
        return last, outputs, states

    def _fused(self, call: LoopCall, sequences: tf.Tensor, padding: Padding | None, empty: list) -> tuple:
        layer = call.layer
        events = sequences
        if layer.go_backwards:
            events = tf.reverse(sequences, [1]) if padding is None else padding.reverse(sequences)
        last = None
        for number, cell in enumerate(recurrent.cells_of(layer)):
            weights = self.lowered.weights[id(cell)]
            assert weights is not None, "only standard cells are fused"
            last, events = fused_lstm(events, weights, f"{len(self.done.calls)}.{number}")
        last, outputs = self._as_keras(layer, last, events, padding)
        states = list(empty)
        if isinstance(layer.cell, keras.layers.StackedRNNCells):
            return last, outputs, states
        return last, outputs, [last, *states[1:]]


def _joining_changes(operation: keras.Operation, guard: bool) -> list[Change]:
    call = operation.call
    if type(operation).__name__ == "Concatenate":
        call = _in_groups(call)
    if guard:
        guarded = call
        call = lambda *args, **rest: guarded(*tree.map_structure(wrappers.guarded, args), **rest)  # noqa: E731
    return [(operation, "call", call)]


def _in_groups(call: Callable) -> Callable:
    """Return a concatenation of any number of tensors, as one of groups of ten: TFLM's kernel takes no more."""

    def concatenated(tensors, *args, **rest):
        tensors = list(tensors)
        while len(tensors) > _MOST_JOINED:
            tensors = [call(tensors[i : i + _MOST_JOINED], *args, **rest) for i in range(0, len(tensors), _MOST_JOINED)]
        return tensors[0] if len(tensors) == 1 else call(tensors, *args, **rest)

    return concatenated


def _guarded_output(call: Callable) -> Callable:
    return lambda x: wrappers.guarded(call(x))


def _largest(keepdims: bool) -> Callable:
    def largest(x, *args, **rest):
        y = tf.nn.max_pool1d(x, x.shape[1], x.shape[1], "VALID")
        return y if keepdims else y[:, 0]

    return largest


def _repeated(times: int, guard: bool) -> Callable:
    return lambda x: tf.stack([wrappers.guarded(x) if guard else x] * times, axis=1)


def _looked_up(layer: keras.layers.Embedding) -> Callable:
    """Return a lookup that is one GATHER; Keras' also serves negative tokens, with operators that TFLM lacks."""
    return lambda tokens: tf.gather(tf.convert_to_tensor(layer.embeddings), tf.cast(tokens, tf.int32))
