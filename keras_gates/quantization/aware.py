"""`quantize_aware`: the same model with its layers in integers, and back to float."""

from __future__ import annotations

from typing import Any

import keras

from keras_gates._compat import calls_of, flatten_layers, functional_graph
from keras_gates._errors import InvalidArgument
from keras_gates._patch import patched
from keras_gates.layers.standard import why_not_standard
from keras_gates.layers.unchanged import leaves_model_unchanged
from keras_gates.quantization.layers import (
    FINAL_ACTIVATIONS,
    LayerNumbers,
    QuantizedDense,
    QuantizedEmbedding,
    QuantizedLayer,
    QuantizedLSTM,
)
from keras_gates.quantization.numbers import WEIGHT_BITS, Scale, cell_scale
from keras_gates.quantization.ranges import Ranges, ranges_of

# They move numbers or, in inference, return them; what they return is on their input's grid.
_MOVING = (
    "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "ActivityRegularization", "Flatten", "Reshape", "Permute",
    "RepeatVector", "ZeroPadding1D", "Cropping1D", "Identity", "GlobalMaxPooling1D", "MaxPooling1D",
)  # fmt: skip
_IN_FRONT = ("Normalization", "BatchNormalization", "LogMel")  # with weights, and yet outside the integers


@leaves_model_unchanged
def quantize_aware(
    model: keras.Model,
    precision: str = "int8",
    calibration: Any = None,
    *,
    exact_training: bool = False,
) -> keras.Model:
    """Return a model that trains with `fit` and computes what its integer file will compute.

    Embedding, standard LSTM (`GateLSTM`, `keras.layers.LSTM`) and Dense layers get int8 weights and activations with the
    roundings of LiteRT's reference kernels; gradients pass the roundings unchanged. Layers before the first of these (a
    Normalization, a log-mel) stay in float, outside the integers. Ranges of activations are those of `calibration`, and fixed.
    `keras_gates.export(trained, out, precision="int8")` then needs no calibration data.

    Args:
        model: A built functional or sequential model in float32. It is not changed.
        precision: "int8", or "int4" for kernels from -7 to 7 with int8 activations.
        calibration: Whole sequences of real inputs, about a hundred: an array `(samples, time, …)`, a dict of arrays, a list
            of sequences or a `tf.data.Dataset`.
        exact_training: Train with every rounding of the kernels. By default `fit` computes sums and activations in float and
            rounds each once, which is faster and differs by a few steps of int8 at most; inference is exact in either case
            (on JAX only with `jax_enable_x64`).

    Returns:
        A new model with copies of the weights, compiled if `model` is. It saves and loads as any Keras model.

    Raises:
        InvalidArgument: the precision is unknown, calibration is missing, or a layer has no integer counterpart; the message
            names it.

    Example:

    >>> model = keras.Sequential([keras.Input((10, 3)), keras_gates.GateLSTM(4), keras.layers.Dense(2)])
    >>> events = numpy.random.default_rng(0).normal(size=(40, 10, 3)).astype("float32")
    >>> aware = keras_gates.quantize_aware(model, calibration=events)
    >>> keras.ops.shape(aware(events[:5]))
    (5, 2)
    """
    _check(model, precision, calibration)
    graph = functional_graph(model)
    for layer in graph.layers:
        _refuse(layer)
    ranges = ranges_of(model, calibration)
    grids: dict[int, Scale | None] = {}  # by id of a tensor; None before the integers
    ended: set[int] = set()  # tensors after a softmax or sigmoid
    wrappers: dict[int, QuantizedLayer] = {}
    for layer in graph.layers:
        inputs = [] if isinstance(layer, keras.layers.InputLayer) else keras.tree.flatten(layer.input)
        outputs = keras.tree.flatten(layer.output)
        plan, scale = _plan_of(layer), None
        after = any(id(x) in ended for x in inputs)
        if plan is None:
            if inputs and type(layer).__name__ in _MOVING:
                scale = grids[id(inputs[0])]
            elif after or any(grids[id(x)] is not None for x in inputs):
                raise InvalidArgument(_unsupported(layer, "has no integer counterpart here"))
            elif hasattr(layer, "get_vocabulary") or (layer.weights and type(layer).__name__ not in _IN_FRONT):
                raise InvalidArgument(_unsupported(layer, "has no integer counterpart"))
        elif after:
            raise InvalidArgument(_unsupported(layer, "comes after a softmax or sigmoid, which only may end a model"))
        else:
            scales, scale, raw = _scales_of(layer, plan, grids, ranges)
            options: dict[str, Any] = {"precision": precision, "exact_training": exact_training, "raw_input": raw}
            wrappers[id(layer)] = plan(_again(layer), scales, **options, name=layer.name, trainable=layer.trainable)
        is_end = after or (plan is QuantizedDense and layer.activation.__name__ in FINAL_ACTIVATIONS)
        ended |= {id(x) for x in outputs} if is_end else set()
        grids |= dict.fromkeys((id(x) for x in outputs), scale)
    if not wrappers:
        raise InvalidArgument(f"quantize_aware: {model.name} has no Embedding, LSTM or Dense layer to quantize.")
    new = keras.models.clone_model(model, clone_function=lambda layer: wrappers.get(id(layer)) or _again(layer))
    for layer in _with_weights(graph):
        _copy_weights(layer, _float_layer(new.get_layer(layer.name)))
    return new


def is_quantize_aware(model: keras.Model) -> bool:
    """Return whether a model comes from `quantize_aware`."""
    return any(isinstance(layer, QuantizedLayer) for layer in flatten_layers(model))


def file_numbers(model: keras.Model) -> list[LayerNumbers]:
    """Return what a file holds for every layer in integers, in the model's order."""
    return [layer.file_numbers() for layer in functional_graph(model).layers if isinstance(layer, QuantizedLayer)]


def precision_of(model: keras.Model) -> str:
    """Return the precision that a model of `quantize_aware` was made for."""
    return next(layer.precision for layer in flatten_layers(model) if isinstance(layer, QuantizedLayer))


def float_model(model: keras.Model) -> keras.Model:
    """Return a model of `quantize_aware` with float layers of the same weights.

    Args:
        model: The model. It is not changed.
    """
    with patched([(model, "compiled", False)]):
        new = keras.models.clone_model(model, clone_function=lambda layer: _again(_float_layer(layer)))
    for layer in _with_weights(functional_graph(model)):
        _copy_weights(_float_layer(layer), new.get_layer(layer.name))
    return new


def _with_weights(graph: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in graph.layers if layer.weights]


def _copy_weights(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    target.set_weights(source.get_weights())
    if hasattr(target, "finalize_state"):  # Normalization computes with copies of its weights
        target.finalize_state()


def _scales_of(
    layer: keras.layers.Layer, plan: type[QuantizedLayer], grids: dict[int, Scale | None], ranges: Ranges
) -> tuple[dict[str, Any], Scale, bool]:
    """Return the scales of a layer's activations by name, that of its output, and whether its input is not an int8 yet."""
    if plan is QuantizedEmbedding:
        table = keras.ops.convert_to_numpy(layer.embeddings)
        scale = Scale.of_range(table.min(), table.max())
        return {"output": scale.to_list()}, scale, False
    known, seen = grids[id(layer.input)], ranges.tensors[id(layer.input)]
    source = Scale.of_range(seen.low, seen.high) if known is None else known
    if plan is QuantizedDense:
        final = layer.activation.__name__ in FINAL_ACTIVATIONS
        seen = ranges.sums[id(layer)] if final else ranges.tensors[id(layer.output)]
        scale = Scale.of_range(seen.low, seen.high)
        return {"input": source.to_list(), "output": scale.to_list()}, scale, known is None
    hidden, cell = ranges.hidden[id(layer)], ranges.cell[id(layer)]
    scale = Scale.of_range(hidden.low, hidden.high)
    scales = {"input": source.to_list(), "hidden": scale.to_list(), "cell": cell_scale(cell.high)}
    return scales, scale, known is None


def _again(layer: keras.layers.Layer) -> keras.layers.Layer:
    return type(layer).from_config(layer.get_config())


def _float_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    return layer.layer if isinstance(layer, QuantizedLayer) else layer


def _plan_of(layer: keras.layers.Layer) -> type[QuantizedLayer] | None:
    if isinstance(layer, keras.layers.Embedding) and type(layer).call is keras.layers.Embedding.call:
        return QuantizedEmbedding
    if type(layer) is keras.layers.Dense:
        return QuantizedDense
    return QuantizedLSTM if isinstance(layer, keras.layers.RNN) else None


def _check(model: Any, precision: str, calibration: Any) -> None:
    if not isinstance(precision, str) or precision not in WEIGHT_BITS:
        raise InvalidArgument(
            f"quantize_aware: precision must be one of {', '.join(WEIGHT_BITS)}, got {precision!r:.60}; data are calibration=…"
        )
    if not isinstance(model, keras.Model) or not hasattr(functional_graph(model), "operations") or not model.built:
        raise InvalidArgument(
            f"quantize_aware takes a built functional or sequential keras.Model, got {type(model).__name__}; write a subclassed "
            "model as a functional one, and build a sequential one with keras.Input."
        )
    if is_quantize_aware(model):
        raise InvalidArgument(f"quantize_aware: {model.name} is quantization-aware already; train it on with fit.")
    if calibration is None:
        raise InvalidArgument(
            "quantize_aware needs calibration=…: about a hundred whole sequences of real inputs, from which it measures the "
            "range of every activation."
        )


def _refuse(layer: keras.layers.Layer) -> None:
    """Raise for a layer that the integers cannot represent."""
    if isinstance(layer, keras.layers.InputLayer):
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
    if isinstance(layer, keras.layers.Wrapper | keras.Model):
        raise InvalidArgument(_unsupported(layer, "holds other layers"))
    if isinstance(layer, keras.layers.RNN) and len(keras.tree.flatten(layer.input)) > 1:
        raise InvalidArgument(_unsupported(layer, "takes a mask or an initial state"))
    if isinstance(layer, keras.layers.RNN) and (reason := _why_not_recurrent(layer)):
        raise InvalidArgument(_unsupported(layer, reason))
    if type(layer) is keras.layers.Dense:
        name = getattr(layer.activation, "__name__", "")
        if (
            name not in ("linear", "relu", *FINAL_ACTIVATIONS)
            or getattr(keras.activations, name) is not layer.activation
        ):
            raise InvalidArgument(_unsupported(layer, "has an activation other than linear, relu, softmax and sigmoid"))


def _why_not_recurrent(layer: keras.layers.RNN) -> str:
    cell = layer.cell
    if reason := why_not_standard(cell):
        return f"cannot be in integers: {reason}"
    if cell.dropout or cell.recurrent_dropout:
        return "has dropout inside; put a Dropout layer before it"
    if layer.return_state:
        return "returns its states, which a file keeps to itself"
    return ""


def _unsupported(layer: keras.layers.Layer, reason: str) -> str:
    return (
        f"quantize_aware: {layer.name} ({type(layer).__name__}) {reason}. In integers are Embedding, standard LSTM and Dense "
        f"layers, and between them {', '.join(_MOVING[:1] + _MOVING[5:9])} and such; export the float model with "
        'precision="int8" and calibration data instead.'
    )
