"""Which integer layer stands for which float layer, with which scales; and why some have none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from keras_gates._compat import calls_of
from keras_gates._errors import InvalidArgument
from keras_gates.layers.standard import is_article, why_not_standard
from keras_gates.quantization.article import OF_STEP, QuantizedArticleLSTM
from keras_gates.quantization.layers import QuantizedLayer
from keras_gates.quantization.numbers import Scale, cell_scale
from keras_gates.quantization.ranges import Range, Ranges, is_mask, recurrent_parts
from keras_gates.quantization.recurrent import QuantizedBidirectional, QuantizedLSTM
from keras_gates.quantization.sums import (
    FINAL_ACTIVATIONS,
    QuantizedAverage,
    QuantizedConv1D,
    QuantizedDense,
    QuantizedDepthwiseConv1D,
    QuantizedEmbedding,
    QuantizedGlobalAverage,
    same_scale,
)

# They move numbers or, in inference, return them; what they return is on their input's grid.
MOVING = (
    "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "ActivityRegularization", "Flatten", "Reshape", "Permute",
    "RepeatVector", "ZeroPadding1D", "Cropping1D", "Identity", "Folded", "GlobalMaxPooling1D", "MaxPooling1D",
)  # fmt: skip
_IN_FRONT = ("Normalization", "BatchNormalization", "LogMel")  # with weights, and yet outside the integers
_KINDS: dict[type, type[QuantizedLayer]] = {
    keras.layers.Dense: QuantizedDense,
    keras.layers.Conv1D: QuantizedConv1D,
    keras.layers.DepthwiseConv1D: QuantizedDepthwiseConv1D,
    keras.layers.AveragePooling1D: QuantizedAverage,
    keras.layers.GlobalAveragePooling1D: QuantizedGlobalAverage,
    keras.layers.Bidirectional: QuantizedBidirectional,
}
_EIGHT_BITS_ONLY = (
    QuantizedEmbedding,
    QuantizedArticleLSTM,
    QuantizedAverage,
    QuantizedGlobalAverage,
)  # TFLM lacks some
_SUMS = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.DepthwiseConv1D)
SERVED = (
    "Embedding, LSTM, Bidirectional, Dense, Conv1D, DepthwiseConv1D, pooling over time, and "
    "normalizations directly before or behind them"
)


def kind_of(operation: Any) -> type[QuantizedLayer] | None:
    """Return the integer layer that stands for an operation of a model, None if there is none."""
    if isinstance(operation, keras.layers.Embedding) and type(operation).call is keras.layers.Embedding.call:
        return QuantizedEmbedding
    if isinstance(operation, keras.layers.RNN):
        return QuantizedArticleLSTM if is_article(operation.cell) else QuantizedLSTM
    return _KINDS.get(type(operation))


def is_final(operation: Any) -> bool:
    """Return whether an operation is a softmax or sigmoid, which only may end a model; or a dense layer that ends in one."""
    if type(operation) is keras.layers.Softmax:
        return operation.axis in (-1, len(operation.input.shape) - 1)
    ends = type(operation) in (keras.layers.Dense, keras.layers.Activation)
    return ends and getattr(operation.activation, "__name__", "") in FINAL_ACTIVATIONS


def stays_in_front(operation: Any, inputs: list[Any], first: bool) -> bool:
    """Return whether an operation before the first integers may stay in float, outside a file's integers.

    Args:
        operation: A layer, or an operation of a functional model.
        inputs: Its input tensors.
        first: Whether it reads the model's input.
    """
    if hasattr(operation, "get_vocabulary"):
        return first
    return not inputs or not getattr(operation, "weights", ()) or type(operation).__name__ in _IN_FRONT


@dataclass(frozen=True)
class Planned:
    """The scales of an integer layer.

    Attributes:
        scales: by name, as the layer takes them.
        output: of what it returns.
        raw_input: whether its input is not an int8 yet.
    """

    scales: dict[str, Any]
    output: Scale
    raw_input: bool


def planned(layer: Any, known: Scale | None, ranges: Ranges, bits: int = 8) -> Planned:
    """Return the scales of a layer.

    Args:
        layer: A layer of which `kind_of` is not None.
        known: The scale of its input; None before the integers.
        ranges: Of the activations.
        bits: Of the activations.

    Raises:
        InvalidArgument: The layer has no kernel with activations of 16 bits.
    """

    def of(seen: Range) -> Scale:
        return Scale.of_range(seen.low, seen.high, bits)

    if bits == 16 and kind_of(layer) in _EIGHT_BITS_ONLY:
        raise InvalidArgument(
            f"quantize_aware: {layer.name} ({type(layer).__name__}) trains in integers with activations of 8 bits only; take "
            "precision='int8', or export the float model with precision='int16x8' and calibration data."
        )
    if kind_of(layer) is QuantizedEmbedding:
        table = keras.ops.convert_to_numpy(layer.embeddings)
        scale = Scale.of_range(table.min(), table.max())
        return Planned({"output": scale.to_list()}, scale, False)
    x = keras.tree.flatten(layer.input)[0]
    source = of(ranges.tensors[id(x)]) if known is None else known
    parts = recurrent_parts(layer)
    if kind_of(layer) is QuantizedArticleLSTM:
        scales = {name: of(ranges.steps[id(layer)][name]) for name in (*OF_STEP, "cell", "hidden")}
        every = {name: scale.to_list() for name, scale in {"input": source, **scales}.items()}
        return Planned(every, scales["hidden"], known is None)
    if parts:
        seen = Range()
        for part in parts:
            seen.join(ranges.hidden[id(part)])
        scale = of(seen) if bits == 8 else Scale(2.0**-15, 0, bits)  # which the LSTM of 16 bits demands
        cells = [cell_scale(ranges.cell[id(part)].high) for part in parts]
        names = dict(zip(("cell", "backward_cell"), cells))
        return Planned({"input": source.to_list(), "hidden": scale.to_list(), **names}, scale, known is None)
    if isinstance(layer, keras.layers.AveragePooling1D):
        return Planned(same_scale(source), source, known is None)
    seen = ranges.sums[id(layer)] if is_final(layer) else ranges.tensors[id(layer.output)]
    scale = of(seen)
    return Planned({"input": source.to_list(), "output": scale.to_list()}, scale, known is None)


def refuse(layer: Any) -> None:
    """Raise InvalidArgument for a layer that the integers cannot represent."""
    if not isinstance(layer, keras.layers.Layer) or isinstance(layer, keras.layers.InputLayer):
        return
    if "float32" not in (layer.compute_dtype, None) and layer.weights:
        raise InvalidArgument(
            f"quantize_aware: {layer.name} computes in {layer.compute_dtype}; integers are emulated in float32. Build the model "
            'with keras.config.set_dtype_policy("float32").'
        )
    if (calls := calls_of(layer)) != 1:
        raise InvalidArgument(
            f"quantize_aware: {layer.name} is called {calls} times, and each call would need scales of its own; "
            "use one layer per call."
        )
    if reason := _why_not(layer):
        raise InvalidArgument(unsupported(layer, reason))


def unsupported(operation: Any, reason: str) -> str:
    """Return the sentence of an error about one operation of a model."""
    return (
        f"quantize_aware: {operation.name} ({type(operation).__name__}) {reason}. In integers are {SERVED}; export the float "
        'model with precision="int8" and calibration data instead.'
    )


def _why_not(layer: keras.layers.Layer) -> str:
    others = [] if isinstance(layer, keras.Model) else keras.tree.flatten(layer.input)[1:]
    if isinstance(layer, keras.layers.Bidirectional):
        return _why_not_both_ways(layer, others)
    if isinstance(layer, keras.layers.Wrapper | keras.Model):
        return "holds other layers"
    if isinstance(layer, keras.layers.RNN):
        return _why_not_recurrent(layer, others)
    if type(layer) is keras.layers.GlobalAveragePooling1D and (others or layer.input.shape[1] is None):
        return "averages over a mask or an unknown number of time steps"
    if type(layer) is keras.layers.LayerNormalization:
        return "divides by a root of squares, of which int8 files keep 8 bits each"
    if isinstance(layer, _SUMS) and type(layer) in _SUMS:
        return _why_not_sums(layer)
    return ""


def _why_not_sums(layer: Any) -> str:
    name = getattr(layer.activation, "__name__", "")
    known = ("linear", "relu", *(FINAL_ACTIVATIONS if type(layer) is keras.layers.Dense else ()))
    if name not in known or getattr(keras.activations, name) is not layer.activation:
        return "has an activation other than linear, relu, and in a Dense layer softmax and sigmoid"
    if getattr(layer, "groups", 1) != 1:
        return "has groups of channels"
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "has its channels first"
    return ""


def _why_not_both_ways(layer: keras.layers.Bidirectional, others: list[Any]) -> str:
    if layer.merge_mode != "concat":
        return f"joins its directions by {layer.merge_mode!r} instead of 'concat'"
    for part in (layer.forward_layer, layer.backward_layer):
        if is_article(part.cell):
            return "runs the article's formulation backwards, whose integer file runs forwards, event by event"
        if reason := _why_not_recurrent(part, others):
            return reason
    return ""


def _why_not_recurrent(layer: Any, others: list[Any]) -> str:
    cell = layer.cell
    if is_article(cell):
        if layer.go_backwards or others:
            return "is of the article's formulation, whose integer file runs forwards, event by event, without masks"
    elif reason := why_not_standard(cell):
        return f"cannot be in integers: {reason}"
    if cell.dropout or cell.recurrent_dropout:
        return "has dropout inside; put a Dropout layer before it"
    if layer.return_state:
        return "returns its states, which a file keeps to itself"
    if not all(is_mask(x) for x in others):
        return "takes an initial state"
    return ""
