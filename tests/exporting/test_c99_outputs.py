"""int8 files whose prediction is a 16-bit tensor: SOFTMAX from int8 to int16, and QUANTIZE to int16 before LOGISTIC."""

import copy
import shutil

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
from ai_edge_litert import schema_py_generated as schema
from test_c99 import SANITIZED, Compiled, make, zoo

from keras_gates.edge.tflite import seal
from keras_gates.exporting.c99.graph import graph_of
from keras_gates.exporting.c99.reference import answers, random_inputs
from keras_gates.exporting.c99.write import write_c99
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.tflite.flatbuffer import dump, load

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def stored_as(tensor, scale, zero):
    tensor.type = schema.TensorType.INT16
    tensor.quantization.scale, tensor.quantization.zeroPoint = np.array([scale], np.float32), np.array([zero])


def softmax16(data, scale=2.0**-16, zero=-32768):
    """The file with a softmax from int8 to int16."""
    model = load(data)
    graph = model.subgraphs[0]
    stored_as(graph.tensors[graph.outputs[0]], scale, zero)
    return seal(dump(model))


def sigmoid16(data, scale):
    """The file with QUANTIZE to int16 and LOGISTIC of int16 in the place of its softmax."""
    model = load(data)
    graph = model.subgraphs[0]
    last = graph.operators[-1]
    code = model.operatorCodes[last.opcodeIndex]
    assert code.builtinCode == schema.BuiltinOperator.SOFTMAX
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.LOGISTIC
    code.version, last.builtinOptionsType, last.builtinOptions = 3, 0, None
    wide = copy.deepcopy(graph.tensors[last.inputs[0]])
    wide.name, wide.buffer = b"wide", 0
    stored_as(wide, scale, 0)
    stored_as(graph.tensors[last.outputs[0]], 2.0**-15, 0)
    graph.tensors.append(wide)
    quantize, code = schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    code.version = 2
    model.operatorCodes.append(code)
    quantize.opcodeIndex = len(model.operatorCodes) - 1
    quantize.inputs, quantize.outputs = last.inputs, np.array([len(graph.tensors) - 1], np.int32)
    quantize.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    quantize.builtinOptions = schema.QuantizeOptionsT()
    last.inputs = quantize.outputs
    graph.operators.insert(len(graph.operators) - 1, quantize)
    return seal(dump(model))


@pytest.mark.parametrize("arithmetic", ["litert", "tflm"])
@pytest.mark.parametrize("scale", [None, 3.1e-4, pytest.param(2.0**-12, marks=pytest.mark.slow)])
def test_the_c_is_bit_equal_to_the_runtime(tmp_path, scale, arithmetic):
    if arithmetic == "tflm":
        pytest.importorskip("tflite_micro", reason="the answers come from TFLM")
    data = sigmoid16(zoo("gesture-nano"), scale) if scale else softmax16(zoo("gesture-nano"))
    graph = graph_of(data)
    write_c99(data, tmp_path, name="m", arithmetic=arithmetic)
    assert "int16_t *out);" in (tmp_path / "m.h").read_text()
    if not scale:
        selftest = make(tmp_path, f"CFLAGS={SANITIZED}")
        assert selftest.returncode == 0, selftest.stdout + selftest.stderr
    compiled, different = Compiled(tmp_path, "m", graph), set()
    samples = random_inputs(graph, 8, seed=1)
    for sample, (wanted,) in zip(samples, answers(data, graph, arithmetic, samples), strict=True):
        np.testing.assert_array_equal(compiled.run(sample)[0], wanted)
        different |= set(wanted.ravel().tolist())
    assert len(different) >= 50


def test_a_softmax_of_another_scale_is_refused(tmp_path):
    data = softmax16(zoo("gesture-nano"), 2.0**-15, 0)  # LiteRT's reference kernel answers in 1/65536 all the same
    with pytest.raises(ExportError, match=r"int16, scale 3.05\S+ and zero point 0: expected 1/65536 and -32768"):
        write_c99(data, tmp_path / "no")
    assert not (tmp_path / "no").exists()
