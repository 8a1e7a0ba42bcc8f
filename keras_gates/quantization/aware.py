"""`quantize_aware`: the same model with its layers in integers, and back to float."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from keras_gates._arguments import typed_with
from keras_gates._compat import flatten_layers, functional_graph
from keras_gates._errors import InvalidArgument
from keras_gates._patch import patched
from keras_gates.layers.unchanged import leaves_model_unchanged
from keras_gates.quantization.arithmetic import has_float64
from keras_gates.quantization.article import QuantizedArticleLSTM
from keras_gates.quantization.folding import folded
from keras_gates.quantization.layers import LayerNumbers, QuantizedLayer
from keras_gates.quantization.numbers import ACTIVATION_BITS, WEIGHT_BITS, Scale
from keras_gates.quantization.plan import (
    MOVING,
    SERVED,
    is_final,
    kind_of,
    planned,
    refuse,
    stays_in_front,
    unsupported,
)
from keras_gates.quantization.ranges import Ranges, is_mask, ranges_of
from keras_gates.quantization.recurrent import QuantizedRecurrence

ARITHMETICS = ("litert", "tflm")


@typed_with(own=("precision",))
@leaves_model_unchanged
def quantize_aware(
    model: keras.Model,
    precision: str = "int8",
    calibration: Any = None,
    *,
    arithmetic: str | None = None,
    exact_training: bool = False,
) -> keras.Model:
    """Return a model that trains with `fit` and computes what its integer file will compute.

    Embedding, LSTM (`GateLSTM`, `keras.layers.LSTM`, `Bidirectional` of the standard formulation), Dense, Conv1D,
    DepthwiseConv1D and averages over time get int8 weights and activations with the roundings of the runtime's reference
    kernels; gradients pass the roundings unchanged. Normalizations between them become part of their weights. Layers before the
    first of these (a Normalization, a log-mel) stay in float, outside the integers. Ranges of activations are those of
    `calibration`, and fixed.
    `keras_gates.export(trained, out, precision="int8")` then needs no calibration data. One of "int16x8" is exported with that
    precision and `target="micro"`.

    Args:
        model: A built functional or sequential model in float32. It is not changed.
        precision: "int8"; "int4" for kernels from -7 to 7 with int8 activations; "int16x8" for int8 kernels with activations of
            16 bits, in TFLM's arithmetic: its LSTM operator is the only one of them.
        calibration: Whole sequences of real inputs, about a hundred: an array `(samples, time, …)`, a dict of arrays, a list
            of sequences or a `tf.data.Dataset`.
        arithmetic: Whose roundings: "litert" (LiteRT's reference kernels; C99 as exported) or "tflm" (TensorFlow Lite Micro).
            None is "tflm" for int16x8, else "litert".
        exact_training: Train with every rounding of the kernels. By default `fit` computes sums and activations in float and
            rounds each once, which is faster and differs by a few steps of int8 at most; inference is exact in either case
            (on JAX only with `jax_enable_x64`).

    Returns:
        A new model with copies of the weights, compiled if `model` is. It saves and loads as any Keras model.

    Raises:
        InvalidArgument: the precision or arithmetic is unknown, calibration is missing, or a layer has no integer counterpart;
            the message names it.

    Example:

    >>> model = keras.Sequential([keras.Input((10, 3)), keras_gates.GateLSTM(4), keras.layers.Dense(2)])
    >>> events = numpy.random.default_rng(0).normal(size=(40, 10, 3)).astype("float32")
    >>> aware = keras_gates.quantize_aware(model, calibration=events)
    >>> keras.ops.shape(aware(events[:5]))
    (5, 2)
    """
    if arithmetic is None:
        arithmetic = "tflm" if isinstance(precision, str) and precision == "int16x8" else "litert"
    _check(model, precision, arithmetic, calibration)
    for operation in functional_graph(model).operations:
        refuse(operation)
    model = folded(model)
    graph = functional_graph(model)
    ranges = ranges_of(model, calibration)
    options: dict[str, Any] = {"precision": precision, "arithmetic": arithmetic, "exact_training": exact_training}
    wrappers = _wrappers(graph, ranges, options)
    if not wrappers:
        raise InvalidArgument(f"quantize_aware: {model.name} has nothing to quantize; in integers are {SERVED}.")
    _check_one_formulation(list(wrappers.values()))
    new = keras.models.clone_model(model, clone_function=lambda layer: wrappers.get(id(layer)) or _again(layer))
    for layer in _with_weights(graph):
        _copy_weights(layer, _float_layer(new.get_layer(layer.name)))
    return new


def _wrappers(graph: keras.Model, ranges: Ranges, options: dict[str, Any]) -> dict[int, QuantizedLayer]:
    """Return the integer layers, by `id` of the float layers that they stand for."""
    grids: dict[int, Scale | None] = {}  # by id of a tensor; None before the integers
    ended: set[int] = set()  # tensors after a softmax or sigmoid
    wrappers: dict[int, QuantizedLayer] = {}
    for layer in graph.operations:
        inputs = [] if isinstance(layer, keras.layers.InputLayer) else keras.tree.flatten(layer.input)
        inputs = [x for x in inputs if not is_mask(x)]
        scale = grids[id(inputs[0])] if inputs else None
        kind, after = kind_of(layer), any(id(x) in ended for x in inputs)
        if kind is not None and after:
            raise InvalidArgument(unsupported(layer, "comes after a softmax or sigmoid, which only may end a model"))
        if kind is not None:
            plan = planned(layer, scale, ranges, ACTIVATION_BITS[options["precision"]])
            own: dict[str, Any] = {
                **options,
                "raw_input": plan.raw_input,
                "name": layer.name,
                "trainable": layer.trainable,
            }
            wrappers[id(layer)] = kind(_again(layer), plan.scales, **own)
            scale = plan.output
        elif type(layer).__name__ not in MOVING:
            in_integers = after or any(grids[id(x)] is not None for x in inputs)
            first = any(x is y for x in inputs for y in graph.inputs)
            if in_integers and not (is_final(layer) and not after):
                raise InvalidArgument(unsupported(layer, "has no integer counterpart here"))
            if not in_integers and not stays_in_front(layer, inputs, first):
                raise InvalidArgument(unsupported(layer, "has no integer counterpart"))
            scale = None
        outputs = [id(x) for x in keras.tree.flatten(layer.output)]
        ended |= set(outputs) if after or is_final(layer) else set()
        grids |= dict.fromkeys(outputs, scale)
    return wrappers


def _check_one_formulation(wrappers: list[QuantizedLayer]) -> None:
    """Raise if layers of both formulations are in a model: the file of one takes single events, that of the other sequences."""
    article = [layer.name for layer in wrappers if isinstance(layer, QuantizedArticleLSTM)]
    standard = [
        layer.name
        for layer in wrappers
        if isinstance(layer, QuantizedRecurrence) and not isinstance(layer, QuantizedArticleLSTM)
    ]
    if article and standard:
        raise InvalidArgument(
            f"quantize_aware: {article[0]} is of the article's formulation, whose integer file takes one event per call, and "
            f"{standard[0]} is not; build every GateLSTM of a model with the same formulation."
        )


def is_quantize_aware(model: keras.Model) -> bool:
    """Return whether a model comes from `quantize_aware`."""
    return any(isinstance(layer, QuantizedLayer) for layer in flatten_layers(model))


def file_numbers(model: keras.Model) -> list[LayerNumbers]:
    """Return what a file holds for every layer in integers, in the model's order."""
    layers = [layer for layer in functional_graph(model).layers if isinstance(layer, QuantizedLayer)]
    return [numbers for layer in layers for numbers in layer.file_numbers()]


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


def _again(layer: keras.layers.Layer) -> keras.layers.Layer:
    return type(layer).from_config(layer.get_config())


def _float_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    return layer.layer if isinstance(layer, QuantizedLayer) else layer


def _check(model: Any, precision: str, arithmetic: str, calibration: Any) -> None:
    if not isinstance(precision, str) or precision not in WEIGHT_BITS:
        raise InvalidArgument(
            f"quantize_aware: precision must be one of {', '.join(WEIGHT_BITS)}, got {precision!r:.60}; data are calibration=…"
        )
    if arithmetic not in ARITHMETICS:
        raise InvalidArgument(
            f"quantize_aware: arithmetic must be one of {', '.join(ARITHMETICS)}, got {arithmetic!r:.60}."
        )
    if precision == "int16x8" and arithmetic != "tflm":
        raise InvalidArgument(
            "quantize_aware: LiteRT runs no LSTM operator with activations of 16 bits; leave arithmetic out, or pass 'tflm'."
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
    if not has_float64():
        warnings.warn(
            "quantize_aware: JAX computes without float64, in which the integers are exact, so predictions differ from the "
            'file by single steps; jax.config.update("jax_enable_x64", True) makes them equal.',
            stacklevel=4,
        )
