"""16-bit activations for fused LSTMs, which TFLM runs and the converter rejects: an int8 file, rewritten.

Every activation becomes int16 with zero point 0 and the range it had; an LSTM's output, memory and hidden tensors, and the
outputs of sigmoid, tanh and softmax, get the scale 1/32768. Weights stay int8; biases become int64 in the new scale.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_gates.exporting.tflite.checks import FUSED, HIDDEN, MOVING, STATE, operator_name
from keras_gates.exporting.tflite.flatbuffer import add_buffer

_UNIT = 2.0**-15
_SAME_SCALE = (*MOVING, "MAX_POOL_2D")
_BOUNDED = ("LOGISTIC", "TANH", "SOFTMAX")
_BIASED = {"FULLY_CONNECTED": (1, 2), "CONV_2D": (1, 2), "DEPTHWISE_CONV_2D": (1, 2)}
_LSTM_BIASES = {12: 1, 13: 2, 14: 3, 15: 4}
_TYPE = schema.TensorType


def to_int16(model: schema.ModelT) -> None:
    """Rewrite the first graph of the file in place."""
    graph = model.subgraphs[0]
    weights = {i for operator in graph.operators for i in _weights(model, operator)}
    before = {i: float(t.quantization.scale[0]) for i, t in enumerate(graph.tensors) if _is_activation(t, i, weights)}
    for i in before:
        _widen(model, graph.tensors[i])
    for operator in graph.operators:
        name = operator_name(model, operator)
        if name == FUSED:
            for i in (operator.inputs[STATE], operator.intermediates[HIDDEN], operator.outputs[0]):
                _set(graph.tensors[i], _UNIT)
        elif name in _BOUNDED:
            _set(graph.tensors[operator.outputs[0]], _UNIT)
        elif name in _SAME_SCALE and operator.outputs[0] in before:
            _set(graph.tensors[operator.outputs[0]], float(graph.tensors[operator.inputs[0]].quantization.scale[0]))
        if operator.inputs[0] in before:
            now = float(graph.tensors[operator.inputs[0]].quantization.scale[0])
            for bias in _biases(name, operator):
                _rescale(model, graph.tensors[bias], before[operator.inputs[0]] / now)


def _weights(model: schema.ModelT, operator: schema.OperatorT) -> list[int]:
    name = operator_name(model, operator)
    places = range(1, 12) if name == FUSED else [_BIASED[name][0]] if name in _BIASED else []
    return [operator.inputs[place] for place in places]


def _biases(name: str, operator: schema.OperatorT) -> list[int]:
    places = _LSTM_BIASES if name == FUSED else [_BIASED[name][1]] if name in _BIASED else []
    return [operator.inputs[place] for place in places if place < len(operator.inputs) and operator.inputs[place] >= 0]


def _is_activation(tensor: schema.TensorT, index: int, weights: set[int]) -> bool:
    return tensor.type == _TYPE.INT8 and index not in weights and tensor.quantization is not None


def _set(tensor: schema.TensorT, scale: float) -> None:
    tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [0]


def _widen(model: schema.ModelT, tensor: schema.TensorT) -> None:
    scale, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    largest = scale * max(abs(-128 - zero), abs(127 - zero))
    stored = model.buffers[tensor.buffer]
    if stored.data is not None and len(stored.data):
        real = scale * (np.frombuffer(bytes(stored.data), np.int8).astype(np.float64) - zero)
        whole = np.clip(np.round(real / (largest / 32767)), -32767, 32767).astype("<i2")
        _store(model, tensor, whole)
    tensor.type = _TYPE.INT16
    _set(tensor, largest / 32767)


def _rescale(model: schema.ModelT, tensor: schema.TensorT, factor: float) -> None:
    """A bias in the scale input × weight, where the input's scale was `factor` times what it is now."""
    if tensor.type != _TYPE.INT32:
        return
    values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), "<i4").astype(np.float64)
    _store(model, tensor, np.round(values * factor).astype("<i8"))
    tensor.type = _TYPE.INT64
    tensor.quantization.scale = [float(scale) / factor for scale in tensor.quantization.scale]


def _store(model: schema.ModelT, tensor: schema.TensorT, values: np.ndarray) -> None:
    """Store values in a buffer of their own: the converter lets equal constants share one."""
    tensor.buffer = add_buffer(model, values.tobytes())
