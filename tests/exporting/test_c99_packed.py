"""C with two weights per byte answers as LiteRT and TFLM do with the same weights in a byte each."""

import shutil

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
from test_c99 import SANITIZED, Compiled, make, zoo

from keras_gates.edge.tflite import seal
from keras_gates.exporting.c99.graph import graph_of
from keras_gates.exporting.c99.reference import answers, random_inputs
from keras_gates.exporting.c99.write import write_c99
from keras_gates.exporting.tflite.checks import operator_name
from keras_gates.exporting.tflite.flatbuffer import dump, load

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
MATRICES = {"UNIDIRECTIONAL_SEQUENCE_LSTM": range(1, 9), "FULLY_CONNECTED": [1], "CONV_2D": [1]}
BIASES = {"UNIDIRECTIONAL_SEQUENCE_LSTM": range(12, 16), "FULLY_CONNECTED": [2], "CONV_2D": [2]}


def with_small_weights(data, largest=7, bias=1):
    """The file with matrices rounded to -largest … largest, in larger steps, and with biases `bias` times as large."""
    model = load(data)
    graph, factor = model.subgraphs[0], largest / 127
    for operator in graph.operators:
        name = operator_name(model, operator)
        for place in (*MATRICES.get(name, ()), *BIASES.get(name, ())):
            tensor = graph.tensors[operator.inputs[place]]
            kind, scaled = ("int8", factor) if place in MATRICES[name] else ("int32", factor * bias)
            buffer = model.buffers[tensor.buffer]
            buffer.data = np.rint(np.frombuffer(bytes(buffer.data), kind) * scaled).astype(kind).view(np.uint8)
            tensor.quantization.scale = np.array(tensor.quantization.scale, np.float32) / np.float32(factor)
    return seal(dump(model))


@pytest.mark.parametrize(
    ("name", "arithmetic", "bias"),
    [
        ("digits-nano", "litert", 1),  # 10 classes: two rows of zeros after the last
        pytest.param("gesture-nano", "tflm", 300, marks=pytest.mark.slow),  # biases of 32 bits
        pytest.param("language-nano", "litert", 1, marks=pytest.mark.slow),
        pytest.param("show-lstm", "litert", 1, marks=pytest.mark.slow),  # convolutions
    ],
)
def test_the_c_is_bit_equal_to_the_runtime(tmp_path, name, arithmetic, bias):
    if arithmetic == "tflm":
        pytest.importorskip("tflite_micro", reason="the answers come from TFLM")
    data = with_small_weights(zoo(name), bias=bias)
    graph = graph_of(data)
    write_c99(data, tmp_path, name="m", arithmetic=arithmetic)
    source = (tmp_path / "m.c").read_text()
    assert ("lstm_packed16_t" in source, "lstm_packed32_t" in source) == (bias == 1, bias > 1)
    assert "dots4(" in source
    assert "dots(" not in source
    selftest = make(tmp_path, f"CFLAGS={SANITIZED}")
    assert selftest.returncode == 0, selftest.stdout + selftest.stderr
    compiled, different = Compiled(tmp_path, "m", graph), set()
    samples = random_inputs(graph, 6, seed=1)
    for sample, (expected,) in zip(samples, answers(data, graph, arithmetic, samples), strict=True):
        np.testing.assert_array_equal(compiled.run(sample)[0], expected)
        different |= set(expected.ravel().tolist())
    assert len(different) >= 5


def test_a_weight_of_8_needs_a_byte(tmp_path):
    write_c99(with_small_weights(zoo("gesture-nano"), largest=8), tmp_path, name="m")
    source = (tmp_path / "m.c").read_text()
    assert "lstm_int8_t" in source
    assert "dots4(" not in source
