"""Convolutions, pooling and what stands around them as C, operator by operator: a file whose outputs are all its tensors."""

import shutil

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
from ai_edge_litert import schema_py_generated as schema
from test_c99 import SANITIZED, Compiled, make

from keras_gates.exporting.c99.fixed_point import hard_swish_table
from keras_gates.exporting.c99.graph import graph_of
from keras_gates.exporting.c99.reference import answers, random_inputs
from keras_gates.exporting.c99.write import write_c99
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.tflite.flatbuffer import dump
from keras_gates.quantization.tables import byte_table

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
SAME, VALID, RELU, RELU6 = schema.Padding.SAME, schema.Padding.VALID, 1, 3


class File:
    """A graph under construction; `dtype` is the type of its activations."""

    def __init__(self, dtype, shape):
        self.model, self.graph, self.dtype = schema.ModelT(), schema.SubGraphT(), dtype
        self.random = np.random.default_rng(0)
        self.model.version, self.model.subgraphs, self.model.operatorCodes = 3, [self.graph], []
        self.model.buffers, self.graph.tensors, self.graph.operators = [schema.BufferT()], [], []
        self.input = self.tensor(shape, dtype, 0.02 if dtype == "int8" else 1e-4, 5)
        self.graph.inputs, self.graph.outputs = [self.input], []

    def tensor(self, shape, dtype, scale=None, zero=0, data=None):
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = list(shape), getattr(schema.TensorType, dtype.upper()), 0
        tensor.name = b"t%d" % len(self.graph.tensors)
        if scale is not None and dtype != "float32":
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = list(np.atleast_1d(np.float32(scale)))
            tensor.quantization.zeroPoint = [zero if dtype == "int8" else 0] * len(tensor.quantization.scale)
        if data is not None:
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(schema.BufferT())
            self.model.buffers[-1].data = list(np.ascontiguousarray(data).tobytes())
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def scale(self, index):
        quantization = self.graph.tensors[index].quantization
        return None if quantization is None else quantization.scale[0]

    def zero(self, index):
        quantization = self.graph.tensors[index].quantization
        return 0 if quantization is None else quantization.zeroPoint[0]

    def apply(self, kind, inputs, shape, scale=None, zero=0, version=3, dtype=None, **options):
        """Append an operator and return its output, which is an output of the file."""
        operator, code = schema.OperatorT(), schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version, operator.opcodeIndex = version, len(self.model.operatorCodes)
        self.model.operatorCodes.append(code)
        name = next(iter(options.pop("options", [])), None)
        if name:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = getattr(schema, f"{name}T")()
            for key, value in options.items():
                setattr(operator.builtinOptions, key, value)
        output = self.tensor(shape, dtype or self.dtype, scale, zero)
        operator.inputs, operator.outputs = list(inputs), [output]
        self.graph.operators.append(operator)
        self.graph.outputs.append(output)
        return output

    def layer(self, kind, x, shape, out, bias="int64", **options):
        """Append a convolution with random weights of this shape and a scale per channel."""
        channels, axis = out[-1], 0 if kind == "CONV_2D" else 3
        if self.dtype == "float32":
            w = self.tensor(shape, "float32", data=self.random.normal(0, 0.2, shape).astype("float32"))
            b = self.tensor((channels,), "float32", data=self.random.normal(size=channels).astype("float32"))
            scale = None
        else:
            data = self.random.integers(-127, 128, shape).astype("int8")
            scales = self.random.uniform(0.5, 2, channels).astype("float32") / 127
            w = self.tensor(shape, "int8", scales, data=data)
            self.graph.tensors[w].quantization.quantizedDimension = axis
            self.graph.tensors[w].quantization.zeroPoint = [0] * channels
            kind_ = "int32" if self.dtype == "int8" else bias
            spread = 2000 if self.dtype == "int8" else 500_000
            offsets = self.random.integers(-spread, spread, channels).astype(kind_)
            b = self.tensor((channels,), kind_, np.float32(self.scale(x)) * scales, data=offsets)
            scale = self.scale(x) * np.sqrt(np.prod(shape) / channels) * 0.7
        name = "Conv2DOptions" if kind == "CONV_2D" else "DepthwiseConv2DOptions"
        return self.apply(kind, (x, w, b), out, scale, -11, options=[name], **options)

    def pool(self, kind, x, out, height, width, **options):
        size = {"filterHeight": height, "filterWidth": width, "options": ["Pool2DOptions"]}
        return self.apply(kind, (x,), out, self.scale(x), self.zero(x), **size, **options)

    @property
    def data(self):
        return dump(self.model)


def windows(dtype):
    """Padding of both kinds, strides, dilation, several channels per input channel, fused activations; with a mean at the end."""
    file = File(dtype, (1, 7, 6, 3))
    one = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1, "fusedActivationFunction": 0}
    two = one | {"strideH": 2, "padding": SAME, "depthMultiplier": 2, "fusedActivationFunction": RELU6}
    wide = file.layer("DEPTHWISE_CONV_2D", file.input, (1, 3, 2, 6), (1, 4, 6, 6), **two)
    apart = one | {"dilationWFactor": 2, "padding": VALID, "depthMultiplier": 1}
    file.layer("DEPTHWISE_CONV_2D", file.input, (1, 2, 3, 3), (1, 6, 2, 3), **apart)
    two = {key: value for key, value in two.items() if key != "depthMultiplier"}
    file.layer("CONV_2D", file.input, (4, 3, 3, 3), (1, 4, 6, 4), **two)
    file.layer("CONV_2D", wide, (5, 2, 2, 6), (1, 3, 4, 5), **one | {"dilationWFactor": 2, "padding": VALID})
    steps = {"strideW": 2, "strideH": 3, "padding": SAME, "fusedActivationFunction": 0}
    average = file.pool("AVERAGE_POOL_2D", file.input, (1, 3, 3, 3), 3, 3, **steps)
    file.pool("AVERAGE_POOL_2D", average, (1, 2, 2, 3), 2, 2, **steps | {"padding": VALID, "strideH": 1, "strideW": 1})
    file.pool("MAX_POOL_2D", file.input, (1, 3, 3, 3), 2, 3, **steps | {"fusedActivationFunction": RELU})
    file.pool("MAX_POOL_2D", average, (1, 2, 2, 3), 2, 2, **steps | {"padding": VALID, "strideH": 1, "strideW": 1})
    scale = file.scale(file.input)
    file.apply("RELU", (file.input,), (1, 7, 6, 3), scale and scale * 0.61, -128, 2)
    if dtype != "int16":  # neither runtime has it
        file.apply("HARD_SWISH", (file.input,), (1, 7, 6, 3), scale and scale * 0.4, -101, 1)
        file.apply("HARD_SWISH", (average,), (1, 3, 3, 3), scale and scale * 1.3, 17, 1)
    finer = scale and scale * 0.7
    file.apply("LEAKY_RELU", (file.input,), (1, 7, 6, 3), finer, 31, 2, options=["LeakyReluOptions"], alpha=0.3)
    axes = file.tensor((2,), "int32", data=np.array([1, 2], "int32"))
    finer = scale and scale * 0.3
    file.apply("MEAN", (file.input, axes), (1, 3), finer, 3, 2, options=["ReducerOptions"], keepDims=False)
    if dtype == "float32":
        negative = file.apply("NEG", (file.input,), (1, 7, 6, 3), version=1)
        divisors = file.tensor((3,), "float32", data=np.array([1.7, -3.1, 0.9], "float32"))
        file.apply("DIV", (negative, divisors), (1, 7, 6, 3), version=1, options=["DivOptions"])
        for kind in ("EXP", "ELU", "ABS"):
            file.apply(kind, (file.input,), (1, 7, 6, 3), version=1)
        for kind in ("LESS", "GREATER", "GREATER_EQUAL"):
            less = file.apply(kind, (file.input, negative), (1, 7, 6, 3), version=1, dtype="bool")
            file.graph.outputs = file.graph.outputs[:-1]
            three = (less, file.input, negative)
            file.apply("SELECT_V2", three, (1, 7, 6, 3), version=1, options=["SelectV2Options"])
    else:
        real = file.apply("DEQUANTIZE", (file.input,), (1, 7, 6, 3), version=2, dtype="float32")
        file.apply("QUANTIZE", (real,), (1, 7, 6, 3), scale * 0.77, 9, version=1, options=["QuantizeOptions"])
    chosen = file.tensor((1, 7, 6, 3), "bool", data=file.random.integers(0, 2, (1, 7, 6, 3)).astype(bool))
    other = file.tensor((1,), dtype, scale, file.zero(file.input), np.array([12], dtype))
    same = {"scale": scale, "zero": file.zero(file.input), "options": ["SelectV2Options"], "version": 1}
    file.apply("SELECT_V2", (chosen, file.input, other), (1, 7, 6, 3), **same)
    return file.data


@pytest.mark.parametrize("arithmetic", ["litert", "tflm"])
@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
def test_every_operator_equals_the_runtime(tmp_path, dtype, arithmetic):
    if arithmetic == "tflm":
        pytest.importorskip("tflite_micro", reason="the answers come from TFLM")
    data = windows(dtype)
    graph = graph_of(data)
    write_c99(data, tmp_path, name="m", arithmetic=arithmetic)
    if arithmetic == "litert":
        selftest = make(tmp_path, f"CFLAGS={SANITIZED}")
        assert selftest.returncode == 0, selftest.stdout + selftest.stderr
    compiled = Compiled(tmp_path, "m", graph)
    samples = random_inputs(graph, 8, seed=1)
    different = [set() for _ in graph.outputs]
    for sample, expected in zip(samples, answers(data, graph, arithmetic, samples), strict=True):
        for got, wanted, values in zip(compiled.run(sample), expected, different, strict=True):
            values |= set(wanted.ravel().tolist())
            if dtype == "float32":
                np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=2e-6)
            else:
                np.testing.assert_array_equal(got, wanted)
    assert min(map(len, different)) >= 15


@pytest.mark.parametrize("scale", [0.003, 0.02, 3 / 128, 0.11, 0.9, 40.0])
def test_hard_silu_equals_the_runtime_at_every_integer(scale):
    file, draw = File("int8", (1, 256)), np.random.default_rng(1)
    file.graph.tensors[file.input].quantization.scale = [scale]
    every = np.arange(-128, 128, dtype="int8")[None]
    for part in (0.1, 0.5, 1.0, 1.4):
        file.apply("HARD_SWISH", (file.input,), (1, 256), scale * part, int(draw.integers(-128, 128)), 1)
    graph = graph_of(file.data)
    (wanted,) = answers(file.data, graph, "litert", [[every]])
    for node, expected in zip(graph.nodes, wanted, strict=True):
        x, y = node.input(0), node.output
        assert hard_swish_table(x.scale, x.zero, y.scale, y.zero) == expected.ravel().tolist()


@pytest.mark.parametrize("arithmetic", ["litert", "tflm"])
def test_sigmoid_and_tanh_of_every_int8_are_the_runtimes(arithmetic):
    if arithmetic == "tflm":
        pytest.importorskip("tflite_micro", reason="the answers come from tflite-micro")
    every, draw = np.arange(-128, 128, dtype="int8")[None], np.random.default_rng(0)
    for exponent in np.linspace(-3.5, 0, 12):
        file = File("int8", (1, 256))
        quantization = file.graph.tensors[file.input].quantization
        quantization.scale, quantization.zeroPoint = [np.float32(10**exponent)], [int(draw.integers(-128, 128))]
        file.apply("LOGISTIC", (file.input,), (1, 256), 1 / 256, -128, 1)
        file.apply("TANH", (file.input,), (1, 256), 1 / 128, 0, 1)
        graph = graph_of(file.data)
        (wanted,) = answers(file.data, graph, arithmetic, [[every]])
        for node, kind, expected in zip(graph.nodes, ("sigmoid", "tanh"), wanted, strict=True):
            x = node.input(0)
            np.testing.assert_array_equal(byte_table(kind, float(x.scale), x.zero, arithmetic), expected.ravel())


def test_tokens_may_become_64_bits_for_a_comparison(tmp_path):
    file = File("int32", (1, 9))
    long = file.apply("CAST", (file.input,), (1, 9), version=1, dtype="int64", options=["CastOptions"])
    file.graph.outputs = []
    limit = file.tensor((), "int64", data=np.array(500))
    low = file.apply("LESS", (long, limit), (1, 9), version=1, dtype="bool", options=["LessOptions"])
    file.graph.outputs = []
    other = file.tensor((1,), "int32", data=np.array([-3], "int32"))
    file.apply("SELECT_V2", (low, file.input, other), (1, 9), version=1, options=["SelectV2Options"])
    graph = graph_of(file.data)
    write_c99(file.data, tmp_path, name="m")
    compiled, samples = Compiled(tmp_path, "m", graph), random_inputs(graph, 4)
    for (tokens,) in samples:
        np.testing.assert_array_equal(compiled.run([tokens])[0], np.where(tokens < 500, tokens, -3))
    assert 0 < np.mean(np.array(samples) < 500) < 1


def test_a_convolution_of_16_bits_with_another_bias_is_refused(tmp_path):
    file = File("int16", (1, 4, 4, 1))
    options = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1, "padding": VALID}
    file.layer("CONV_2D", file.input, (2, 2, 2, 1), (1, 3, 3, 2), bias="int32", fusedActivationFunction=0, **options)
    with pytest.raises(ExportError, match="CONV_2D of int16 with int8 weights and int64 bias only; export in int16x8"):
        write_c99(file.data, tmp_path / "no")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("scale", "reason"), [(1e-40, r"rescales by .*, out of reach of the C"), (1e-11, "2.14 or more")]
)
def test_a_scale_that_calibration_on_zeros_leaves_is_refused(tmp_path, scale, reason):
    file = File("int16", (1, 4, 4, 1))
    options = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1, "padding": VALID}
    y = file.layer("CONV_2D", file.input, (2, 2, 2, 1), (1, 3, 3, 2), fusedActivationFunction=0, **options)
    file.graph.tensors[y].quantization.scale = [scale]
    with pytest.raises(ExportError, match=f"{reason}.*: calibrate on real inputs"):
        write_c99(file.data, tmp_path / "no", arithmetic="tflm")
    assert not (tmp_path / "no").exists()
