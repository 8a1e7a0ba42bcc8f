"""A Keras model as a TensorFlow function whose recurrent layers run in the form that the export chose.

The model itself is called, whatever its kind (sequential, functional, nested, subclassed), while its layers' loops are
replaced for the time of the call; nothing of the model changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from keras_gates._patch import patched
from keras_gates.exporting.lowering import recurrent
from keras_gates.exporting.lowering.fused_lstm import fused_lstm
from keras_gates.exporting.lowering.masks import Padding

# One ulp over 1: a factor that the converter does not fold away and that changes no number. It keeps the quantizer from
# giving an LSTM's output the scale of what it is joined with, which is also the scale of the LSTM's memory.
GUARD = float(np.nextafter(np.float32(1), np.float32(2)))
_JOINING = ("Concatenate", "Stack", "Maximum", "Minimum", "Vstack", "Hstack")


@dataclass
class LoopCall:
    """One recurrent layer called once, and what that call asks of its form."""

    layer: keras.layers.RNN
    masked: str = ""  # "", "padding" or "mask"
    given_state: bool = False
    local: bool = False  # inside TimeDistributed: it begins anew at every event
    ltm: Any = None
    ltm_read: bool = False

    @property
    def name(self) -> str:
        return self.layer.name


@dataclass
class Prepared:
    """One run of the model's graph: results by name, the recurrent calls in order, memories after the run."""

    results: list[tf.Tensor]
    calls: list[LoopCall]
    memories: list[list[tf.Tensor]] = field(default_factory=list)


class Preparation:
    """Calls `model` with its recurrent layers lowered.

    Args:
        model: a built Keras model.
        forms: the form of every recurrent call in the order of calls, or one form for all.
        guard: put a factor before every join of tensors, for integer quantization.
        stream: masks are dropped, every event counts, and step forms take `memories`.
        watch: two functions, told of every layer called outside TimeDistributed: before, and after with its answer.
    """

    def __init__(
        self,
        model: keras.Model,
        forms: list[str] | str,
        *,
        guard: bool = False,
        stream: bool = False,
        watch: tuple[Callable, Callable] | None = None,
    ) -> None:
        self.model = model
        self.forms = forms
        self.guard = guard
        self.stream = stream
        self.watch = watch
        self._layers = recurrent.recurrent_layers(model)
        self._weights = {
            id(cell): recurrent.standard_weights(cell) for layer in self._layers for cell in recurrent.cells_of(layer)
        }

    def run(
        self,
        inputs: Any,
        paddings: dict[int, Padding] | None = None,
        memories: list[list[tf.Tensor]] | None = None,
    ) -> Prepared:
        """Call the model inside a TensorFlow function.

        Args:
            inputs: what the model takes, batch and time static.
            paddings: the padding of an input, by `id` of its tensor.
            memories: for the step form, the states of every recurrent call that is not local.
        """
        self._paddings = dict(paddings or {})
        self._by_mask: dict[int, tuple[Any, Padding]] = {}
        self._memories = list(memories or [])
        self._given_state: list[bool] = []
        self._local = 0
        self._align = self._aligned = False
        self._done = Prepared([], [])
        with patched(self._changes()):
            self._done.results = tree.flatten(self.model(inputs, training=False))
        return self._done

    def _changes(self) -> list[tuple[Any, str, Any]]:
        changes: list[tuple[Any, str, Any]] = []
        for layer in self._layers:
            changes += [
                (layer, "inner_loop", self._loop_of(layer)),
                (layer, "call", self._noting_state(layer.call)),
                (layer, "stateful", False),
                (layer, "unroll", False),
                (layer, "_maybe_config_dropout_masks", lambda *_: None),
                (layer, "_maybe_reset_dropout_masks", lambda *_: None),
            ]
        for layer in self.model._flatten_layers():
            if layer.compute_dtype != "float32" and layer.compute_dtype in ("float16", "bfloat16", "float64"):
                changes.append((layer, "_dtype_policy", keras.DTypePolicy("float32")))
            if isinstance(layer, keras.Model):
                changes.append((layer, "_assert_input_compatibility", lambda *_: None))
                graph = getattr(layer, "_functional", None) or layer
                changes += [change for operation in getattr(graph, "operations", ()) for change in self._of(operation)]
            elif isinstance(layer, keras.layers.Masking):
                changes.append((layer, "call", tf.identity))
                changes.append((layer, "compute_mask", self._mask_of(layer)))
            elif isinstance(layer, keras.layers.Embedding):
                if layer.mask_zero:
                    changes.append((layer, "compute_mask", self._mask_of(layer)))
                if type(layer).call is keras.layers.Embedding.call and layer.quantization_mode is None:
                    changes.append((layer, "call", _looked_up(layer)))
            elif isinstance(layer, keras.layers.Bidirectional):
                changes.append((layer, "call", self._both_ways(layer)))
            elif isinstance(layer, keras.layers.TimeDistributed):
                changes.append((layer, "call", self._flattened(layer.layer)))
        if self.watch:
            calls = {id(layer): call for layer, name, call in changes if name == "call"}
            inner = {id(part) for layer in self._layers for part in layer._flatten_layers(include_self=False)}
            changes += [
                (layer, "call", self._watched(layer, calls.get(id(layer), layer.call)))
                for layer in self.model._flatten_layers()
                if not isinstance(layer, keras.Model) and id(layer) not in inner
            ]
        return changes

    def _watched(self, layer: keras.layers.Layer, call: Callable) -> Callable:
        def watched(*args, **rest):
            outermost = not self._local
            if outermost:
                self.watch[0](layer)
            answer = call(*args, **rest)
            if outermost:
                self.watch[1](layer, answer)
            return answer

        return watched

    def _of(self, operation: keras.Operation) -> list[tuple[Any, str, Any]]:
        """A functional graph holds joins, and the computation of masks, as operations of its own."""
        kind = type(operation).__name__
        if kind in _JOINING and self.guard:
            return [(operation, "call", self._guarded(operation.call))]
        if kind == "NotEqual":
            return [(operation, "call", self._comparing(operation.call))]
        if kind == "Any":
            return [(operation, "call", self._any_of(operation.call))]
        return []

    def _comparing(self, call: Callable) -> Callable:
        def differs(x1, x2):
            padding = self._paddings.get(id(x1))
            if padding is None:
                return call(x1, x2)
            answer = self._known(padding) if len(x1.shape) == 2 else call(x1, x2)
            self._by_mask[id(answer)] = (answer, padding)
            return answer

        return differs

    def _any_of(self, call: Callable) -> Callable:
        def any_of(x):
            compared = self._by_mask.get(id(x))
            return call(x) if compared is None else self._known(compared[1])

        return any_of

    def _known(self, padding: Padding) -> tf.Tensor:
        """The mask, remembered so that a layer that is given it can use the lengths instead."""
        self._by_mask[id(padding.mask)] = (padding.mask, padding)
        return padding.mask

    def _noting_state(self, call: Callable) -> Callable:
        def noted(sequences, initial_state=None, **rest):
            self._given_state.append(initial_state is not None)
            return call(sequences, initial_state=initial_state, **rest)

        return noted

    def _guarded(self, call: Callable) -> Callable:
        return lambda *args, **rest: call(*tree.map_structure(_guard, args), **rest)

    def _mask_of(self, layer: keras.layers.Layer) -> Callable:
        def mask_of(inputs, previous_mask=None):
            if self.stream:
                return None
            padding = self._paddings.get(id(inputs))
            if padding is None:
                return type(layer).compute_mask(layer, inputs, previous_mask)
            return self._known(padding)

        return mask_of

    def _both_ways(self, layer: keras.layers.Bidirectional) -> Callable:
        """Bidirectional's call, its join guarded, padded outputs put back in order by the gather that reads them."""

        def both_ways(sequences, initial_state=None, mask=None, training=None):
            half = len(initial_state or ()) // 2
            answers, states = [], []
            for child, given in ((layer.forward_layer, slice(0, half)), (layer.backward_layer, slice(half, None))):
                self._aligned, self._align = False, child.go_backwards
                answer = child(
                    sequences, initial_state=initial_state and initial_state[given], mask=mask, training=False
                )
                self._align = False
                if layer.return_state:
                    states += answer[1:]
                    answer = answer[0]
                if child is layer.backward_layer and layer.return_sequences and not self._aligned:
                    answer = tf.reverse(answer, [1])
                answers.append(answer)
            merged = self._merged(layer.merge_mode, *answers)
            if not states:
                return merged
            return (*merged, *states) if layer.merge_mode is None else (merged, *states)

        return both_ways

    def _merged(self, mode: str | None, forward: tf.Tensor, backward: tf.Tensor) -> Any:
        if self.guard:
            forward, backward = _guard(forward), _guard(backward)
        if mode == "concat":
            return tf.concat([forward, backward], axis=-1)
        if mode == "sum":
            return forward + backward
        if mode == "ave":
            return (forward + backward) / 2
        return forward * backward if mode == "mul" else (forward, backward)

    def _flattened(self, layer: keras.layers.Layer) -> Callable:
        def over_all_events(inputs, training=None, mask=None):
            batch, steps, *shape = inputs.shape
            self._local += 1
            answer = layer.call(tf.reshape(inputs, (batch * steps, *shape)), **_not_training(layer))
            self._local -= 1
            return tree.map_structure(lambda x: tf.reshape(x, (batch, steps, *x.shape[1:])), answer)

        return over_all_events

    def _loop_of(self, layer: keras.layers.RNN) -> Callable:
        def loop(sequences, initial_state, mask=None, training=False):
            mask = tree.flatten(mask)[0] if tree.flatten(mask) else None
            padding = self._by_mask.get(id(mask), (None, None))[1]
            masked = "" if mask is None else "mask" if padding is None else "padding"
            call = LoopCall(layer, masked, self._given_state.pop(), bool(self._local))
            form = self.forms if isinstance(self.forms, str) else self.forms[len(self._done.calls)]
            self._done.calls.append(call)
            if form == "step" and not call.local:
                return self._step(layer, sequences)
            if form == "fused":
                return self._fused(call, sequences, padding, initial_state)
            if form in ("unrolled", "step") and masked != "mask":
                events = sequences
                if padding is not None and layer.go_backwards:
                    events = padding.reverse(sequences)
                last, outputs, states = self._unrolled(layer, events, initial_state, padding)
                last, outputs = self._as_keras(layer, last, outputs, padding)
            else:
                with patched([(layer, "unroll", form != "while")]):
                    last, outputs, states = recurrent.run_loop(layer, sequences, initial_state, mask)
            states = list(states)
            if len(states) > 1:
                call.ltm = states[1] = tree.map_structure(tf.identity, states[1])
            return last, outputs, states

        return loop

    def _as_keras(self, layer: keras.layers.RNN, last: Any, outputs: Any, padding: Padding | None) -> tuple[Any, Any]:
        if padding is None:
            return last, outputs
        if self._align:
            self._aligned = True
            return padding.last(outputs), padding.in_order(outputs)
        return padding.last(outputs), padding.every(outputs, layer.go_backwards, layer.zero_output_for_mask)

    def _unrolled(self, layer: keras.layers.RNN, events: tf.Tensor, states: list, padding: Padding | None) -> tuple:
        return recurrent.run_unrolled(layer, self._weights.get(id(layer.cell)), events, states, padding)

    def _step(self, layer: keras.layers.RNN, sequences: tf.Tensor) -> tuple:
        last, outputs, states = self._unrolled(layer, sequences, self._memories.pop(0), None)
        self._done.memories.append(states)
        return last, outputs, states

    def _fused(self, call: LoopCall, sequences: tf.Tensor, padding: Padding | None, empty: list) -> tuple:
        layer = call.layer
        events = sequences
        if layer.go_backwards:
            events = tf.reverse(sequences, [1]) if padding is None else padding.reverse(sequences)
        for number, cell in enumerate(recurrent.cells_of(layer)):
            name = f"{len(self._done.calls)}.{number}"
            last, events = fused_lstm(events, self._weights[id(cell)], name)
        last, outputs = self._as_keras(layer, last, events, padding)
        states = list(empty)
        if isinstance(layer.cell, keras.layers.StackedRNNCells):
            return last, outputs, states
        return last, outputs, [last, *states[1:]]


def _looked_up(layer: keras.layers.Embedding) -> Callable:
    """A plain GATHER; Keras' also serves negative tokens, with operators that TFLM lacks."""
    return lambda tokens: tf.gather(tf.convert_to_tensor(layer.embeddings), tf.cast(tokens, tf.int32))


def _guard(x: Any) -> Any:
    return x * GUARD if tf.is_tensor(x) and x.dtype.is_floating else x


def _not_training(layer: keras.layers.Layer) -> dict[str, bool]:
    return {"training": False} if layer._call_has_training_arg else {}
