"""The integers and scales of a model of `quantize_aware`, written into a converted file in place of the converter's.

An operator is recognised by its weights, which the converter rounded from the same floats; what moves numbers passes scales on.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_gates.exporting.report import ExportError
from keras_gates.exporting.tflite.checks import FUSED, HIDDEN, LTM, MOVING, STATE, operator_name
from keras_gates.exporting.tflite.flatbuffer import add_buffer
from keras_gates.exporting.tflite.trained_article import article_scales
from keras_gates.quantization.layers import LayerNumbers
from keras_gates.quantization.numbers import Scale

_KINDS = {
    FUSED: "lstm", "FULLY_CONNECTED": "dense", "GATHER": "embedding",
    "CONV_2D": "conv", "DEPTHWISE_CONV_2D": "depthwise", "MEAN": "mean",
}  # fmt: skip
_SAME_NUMBERS = (
    *MOVING,
    "REDUCE_MAX",
    "MAX_POOL_2D",
    "AVERAGE_POOL_2D",
    "SQUEEZE",
    "EXPAND_DIMS",
    "MUL",
)  # MUL: of the input alone, by a constant
_ACTIVATIONS = (schema.TensorType.INT8, schema.TensorType.INT16)
_OWN_SCALE = ("SOFTMAX", "LOGISTIC", "TANH")  # fixed by the operator


def write_trained(model: schema.ModelT, layers: Sequence[LayerNumbers]) -> None:
    """Write what `layers` hold into the first graph of a file, in place.

    Args:
        model: A converted file of integers.
        layers: Of the model that it was converted from.

    Raises:
        ExportError: An operator of integers has no layer, or a layer no operator.
    """
    graph, rest = model.subgraphs[0], list(layers)
    scales: dict[int, Scale] = {}
    written: set[int] = set()
    for article in [each for each in rest if each.kind == "article"]:
        products = _products(model, graph, article, written)
        written |= {id(operator) for operator in products.values()}
        scales |= article_scales(model, graph, products, article)
    rest = [each for each in rest if each.kind != "article"]
    for operator in graph.operators:
        kind = _KINDS.get(operator_name(model, operator))
        if kind is None or id(operator) in written or not _has_weights(model, graph, operator, kind):
            continue
        layer = next((each for each in rest if each.kind == kind and _is_of(model, graph, operator, each)), None)
        if layer is None:
            raise ExportError(
                f"an operator {operator_name(model, operator)} of the file is of no layer trained in integers; report this model."
            )
        rest = [each for each in rest if each is not layer]
        scales |= _write_layer(model, graph, operator, layer)
    if rest:
        raise ExportError(
            f"{rest[0].layer} has no operator in the file, whose scales could be written; report this model."
        )
    _pass_on(model, graph, scales)
    for index, scale in scales.items():
        _set(graph.tensors[index], scale)
    _drop_unused(model)


def _products(
    model: schema.ModelT, graph: schema.SubGraphT, layer: LayerNumbers, written: set[int]
) -> dict[str, schema.OperatorT]:
    """Find the products of a layer of the article's formulation by their weights, write these, and return them by name."""
    products: dict[str, schema.OperatorT] = {}
    for operator in graph.operators:
        if operator_name(model, operator) != "FULLY_CONNECTED" or id(operator) in written:
            continue
        for name in layer.kernels.keys() - products.keys():
            dense = dataclasses.replace(layer, kind="dense", kernel=layer.kernels[name])
            if _is_of(model, graph, operator, dense):
                products[name] = operator
                break
    if missing := layer.kernels.keys() - products.keys():
        raise ExportError(
            f"{layer.layer}: no operator of the file has the weights of {min(missing)}; report this model."
        )
    for name, operator in products.items():
        for place, constant in ((1, name), (2, f"{name}_bias")):
            if place < len(operator.inputs) and operator.inputs[place] >= 0 and constant in layer.constants:
                values = [float(value) for value in layer.scales[constant]]
                _store(model, graph, operator, place, layer.constants[constant], values)
    return products


def _has_weights(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT, kind: str) -> bool:
    return kind == "mean" or _stored(model, graph.tensors[operator.inputs[0 if kind == "embedding" else 1]]) is not None


def _is_of(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT, layer: LayerNumbers) -> bool:
    """Whether the converter's integers are the layer's floats, each to the nearest step."""
    if layer.kernel is None:
        return True
    kernel = layer.kernel if layer.kind in ("embedding", "depthwise") else layer.kernel.T
    places = {"embedding": [0], "lstm": [1, 2, 3, 4]}.get(layer.kind, [1])
    parts = np.split(kernel, len(places)) if len(places) > 1 else [kernel]
    for place, part in zip(places, parts):
        tensor = graph.tensors[operator.inputs[place]]
        stored = _stored(model, tensor)
        if stored is None or stored.size != part.size:
            return False
        scale = np.array(tensor.quantization.scale, np.float64)
        zero = int(tensor.quantization.zeroPoint[0])
        columns = layer.kind == "depthwise"  # whose outputs are the last axis
        steps = scale[:, None] if len(scale) > 1 and not columns else scale
        real = (stored.reshape(part.shape).astype(np.float64) - zero) * steps
        if np.abs(real - part).max(initial=0) > 1.01 * scale.max():
            return False
    return True


def _write_layer(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT, layer: LayerNumbers
) -> dict[int, Scale]:
    """Write the weights; return the scales of the activations around the operator."""
    output = {operator.outputs[0]: layer.output}
    if layer.kind == "embedding":
        table = graph.tensors[operator.inputs[0]]
        _store(model, graph, operator, 0, layer.constants["table"].reshape(table.shape), [layer.output.scale])
        graph.tensors[operator.inputs[0]].quantization.zeroPoint = [layer.output.zero]
        return output
    assert layer.input is not None
    if layer.kind == "mean":
        return {operator.inputs[0]: layer.input, **output}
    for place, name in _places(layer.kind, operator):
        scale = layer.scales[name]
        _store(model, graph, operator, place, layer.constants[name], [float(value) for value in scale])
    if layer.kind == "lstm":
        cell = graph.tensors[operator.inputs[LTM]]
        cell.quantization.scale, cell.quantization.zeroPoint = [layer.cell], [0]
        output |= {operator.inputs[STATE]: layer.output, operator.intermediates[HIDDEN]: layer.output}
    return {operator.inputs[0]: layer.input, **output}


def _places(kind: str, operator: schema.OperatorT) -> list[tuple[int, str]]:
    """Return the operator's inputs that hold weights, with the name of the layer's constant."""
    if kind == "lstm":
        firsts = {"input": 1, "recurrent": 5, "bias": 12}
        return [(first + gate, f"{name}_{gate}") for name, first in firsts.items() for gate in range(4)]
    if len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return [(1, "kernel")]
    return [(1, "kernel"), (2, "bias")]


def _pass_on(model: schema.ModelT, graph: schema.SubGraphT, scales: dict[int, Scale]) -> None:
    """Give what only moves numbers the scale of its neighbours, until nothing changes; check that nothing is left."""
    before = -1
    while len(scales) > before:
        before = len(scales)
        for operator in graph.operators:
            name, source, target = operator_name(model, operator), operator.inputs[0], operator.outputs[0]
            if name == "CONCATENATION":  # of int8: of one scale
                known = next((scales[i] for i in (target, *operator.inputs) if i in scales), None)
                scales |= {} if known is None else dict.fromkeys((target, *operator.inputs), known)
            factor = _factor(model, graph, operator) if name == "MUL" else 1.0
            if name not in _SAME_NUMBERS or factor is None:
                continue
            # Rounding gives an int8 back if what it is multiplied by is nearly one.
            is_same = abs(factor - 1.0) < 1e-5
            if target in scales and source not in scales and (is_same or source in graph.inputs):
                scales[source] = Scale(
                    float(np.float32(scales[target].scale / (1.0 if is_same else factor))), scales[target].zero
                )
            elif source in scales and target not in scales and is_same:
                scales[target] = scales[source]
    own = {i for each in graph.operators if operator_name(model, each) in _OWN_SCALE for i in each.outputs}
    for operator in graph.operators:
        name = operator_name(model, operator)
        for index in [*operator.inputs[:1], *operator.outputs] if name not in _OWN_SCALE else []:
            tensor = graph.tensors[index]
            has_scale = index in scales or index in own
            if tensor.type in _ACTIVATIONS and not has_scale and _stored(model, tensor) is None:
                raise ExportError(
                    f"{name}: no scale was trained for one of its tensors; the model has something between its layers of "
                    "integers that quantize_aware does not know. Report this model."
                )


def _factor(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> float | None:
    """Return the one number that a MUL multiplies by; None if it is no constant."""
    for index in operator.inputs:
        numbers, tensor = _stored(model, graph.tensors[index]), graph.tensors[index]
        if numbers is not None and numbers.size == 1 and tensor.type in _ACTIVATIONS:
            return float(tensor.quantization.scale[0]) * (int(numbers[0]) - int(tensor.quantization.zeroPoint[0]))
    return None


def _set(tensor: schema.TensorT, scale: Scale) -> None:
    tensor.quantization.scale, tensor.quantization.zeroPoint = [scale.scale], [scale.zero]


def _stored(model: schema.ModelT, tensor: schema.TensorT) -> np.ndarray | None:
    """Return a constant's values; None for a tensor that is none."""
    types = {schema.TensorType.INT8: "int8", schema.TensorType.INT16: "<i2", schema.TensorType.INT32: "<i4"}
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data) or tensor.type not in types:
        return None
    return np.frombuffer(bytes(data), types[tensor.type])


def _store(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    operator: schema.OperatorT,
    place: int,
    values: np.ndarray,
    scales: list[float],
) -> None:
    """Store a constant of one operator. The converter lets equal constants share a tensor, so it gets one of its own then."""
    index = operator.inputs[place]
    if sum(list(each.inputs).count(index) for each in graph.operators) > 1:
        operator.inputs = list(operator.inputs)
        operator.inputs[place] = len(graph.tensors)
        graph.tensors.append(copy.deepcopy(graph.tensors[index]))
    tensor = graph.tensors[operator.inputs[place]]
    tensor.buffer = add_buffer(model, np.ascontiguousarray(values).tobytes())
    tensor.quantization.scale, tensor.quantization.zeroPoint = scales, [0] * len(scales)


def _drop_unused(model: schema.ModelT) -> None:
    """Empty the buffers of the constants that were replaced."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or []}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None
