"""What is changed in a file after TensorFlow's converter, in order, and the converter pitfalls that remain.

docs/export.md holds the list that `pitfalls_markdown` returns.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_gates.exporting.lowering.wrappers import guarded
from keras_gates.exporting.tflite.checks import FUSED, HIDDEN, LTM, STATE, operator_name
from keras_gates.exporting.tflite.flatbuffer import add_buffer
from keras_gates.exporting.tflite.graph import without_clips, without_negations
from keras_gates.exporting.tflite.int16 import to_int16
from keras_gates.exporting.tflite.outputs import widen


@dataclass(frozen=True)
class PassContext:
    """What the passes need to know of the export.

    Attributes:
        inputs, outputs: names in the order of the signature.
        is_integer: activations are integers.
        is_int16_fused: 16-bit activations with fused LSTMs, to be made of an int8 file.
        steps: time steps of a sequence; None if it has no end.
        predictions: the outputs that are no memory.
        is_trained: the scales are those of a training in integers.
    """

    inputs: list[str]
    outputs: list[str]
    is_integer: bool
    is_int16_fused: bool
    steps: int | None
    predictions: tuple[str, ...] = ()
    is_trained: bool = False


@dataclass(frozen=True)
class Pass:
    """One change.

    Attributes:
        name: the pitfall in a few words.
        apply: changes the file in place; its docstring says what the pitfall is and what the pass does.
        applies: whether the pass is to run.
    """

    name: str
    apply: Callable[[schema.ModelT, PassContext], None]
    applies: Callable[[PassContext], bool] = lambda context: True

    @property
    def text(self) -> str:
        """The docstring in one line."""
        return _one_line(self.apply)


def run_passes(model: schema.ModelT, context: PassContext) -> None:
    """Apply `PASSES` to a converted file."""
    for each in PASSES:
        if each.applies(context):
            each.apply(model, context)


def widen_to_int16(model: schema.ModelT, context: PassContext) -> None:
    """The converter rejects 16-bit activations for the fused operator, which TFLM runs. The pass rewrites an int8 file: every
    activation becomes int16 with the range it had, biases become int64.
    """
    to_int16(model)


def widen_probabilities(model: schema.ModelT, context: PassContext) -> None:
    """The converter ends int8 files in a softmax or sigmoid with steps of 1/256: a language model gives one right character in a
    hundred the probability 0, which costs 0.2 bits per character. The pass lets the last softmax write int16 in steps of
    1/65536; a sigmoid gets a QUANTIZE before it, and steps of 1/32768.
    """
    for output in context.predictions:
        widen(model, output)


def separate_memories(model: schema.ModelT, context: PassContext) -> None:
    """The converter gives an LSTM's memory and the initial state of a loop with as many units the same tensor of zeros, so that
    the loop starts from the LSTM's last state. The pass gives every memory in the file to exactly one operator.
    """
    for graph in model.subgraphs:
        owned = set()
        for operator in graph.operators:
            operator.inputs = list(operator.inputs)
            for place, index in enumerate(operator.inputs):
                if index < 0 or not graph.tensors[index].isVariable:
                    continue
                is_memory = place in (STATE, LTM) and operator_name(model, operator) == FUSED
                if is_memory and index not in owned:
                    owned.add(index)
                    continue
                operator.inputs[place] = len(graph.tensors)
                graph.tensors.append(copy.deepcopy(graph.tensors[index]))
                if not is_memory:
                    _make_zeros(model, graph.tensors[-1])


def drop_names(model: schema.ModelT, context: PassContext) -> None:
    """The converter names tensors after TensorFlow's functions, whose numbers count up, and adds hashes of the SavedModel: the
    same model gives other bytes each time. The pass drops names and hashes that no runtime reads, and puts inputs and outputs
    in the order of the signature.
    """
    model.description = b"keras_gates"
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = b""
    for number, graph in enumerate(model.subgraphs):
        graph.name = b"main" if number == 0 else f"graph_{number}".encode()
    for signature in model.signatureDefs:
        graph = model.subgraphs[signature.subgraphIndex]
        graph.name = signature.signatureKey
        signature.inputs = sorted(signature.inputs, key=lambda port: context.inputs.index(port.name.decode()))
        signature.outputs = sorted(signature.outputs, key=lambda port: context.outputs.index(port.name.decode()))
        graph.inputs = [port.tensorIndex for port in signature.inputs]
        graph.outputs = [port.tensorIndex for port in signature.outputs]
        for port in (*signature.inputs, *signature.outputs):
            graph.tensors[port.tensorIndex].name = port.name
    entries = [entry for entry in model.metadata or [] if bytes(entry.name) == b"min_runtime_version"]
    for buffer in {entry.buffer for entry in model.metadata or []} - {entry.buffer for entry in entries}:
        model.buffers[buffer].data = None
    model.metadata = entries


def remove_cell_clip(model: schema.ModelT, context: PassContext) -> None:
    """The converter's float operator clips LTM at ±10, which Keras does not. The pass removes the clip."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            if hasattr(operator.builtinOptions, "cellClip"):
                operator.builtinOptions.cellClip = 0.0


def limit_ltm_scale(model: schema.ModelT, context: PassContext) -> None:
    """For an LTM that stays under 0.5 the converter writes the scale 2^-16. The tanh of the int8 kernels supports 2^-15 to 2^-9,
    and the file silently returns wrong results (errors of 0.1 to 0.4 instead of 0.003, in three of six small models with random
    weights). The pass keeps the scale in that range; an LTM that came near 10 during calibration, where it is clipped, gets
    room for 1 per time step, up to 64.
    """
    most = 2.0**-15 * 2 ** math.ceil(math.log2(min(context.steps or 64, 64)))
    for graph in model.subgraphs:
        for operator in graph.operators:
            if operator_name(model, operator) == FUSED:
                quantization = graph.tensors[operator.inputs[LTM]].quantization
                if quantization is not None and quantization.scale is not None and len(quantization.scale):
                    scale = float(quantization.scale[0])
                    quantization.scale = [max(scale, 2.0**-15, most if scale >= 2.0**-11 else 0.0)]


def share_stm_scale(model: schema.ModelT, context: PassContext) -> None:
    """If the model holds other zeros of the shape of an LSTM's STM, the converter takes STM for the same constant and calibrates
    that. The pass gives STM the scale of the hidden state that the LSTM stores there.
    """
    for graph in model.subgraphs:
        for operator in graph.operators:
            if operator_name(model, operator) == FUSED:
                hidden = graph.tensors[operator.intermediates[HIDDEN]]
                graph.tensors[operator.inputs[STATE]].quantization = copy.deepcopy(hidden.quantization)


def share_output_scale(model: schema.ModelT, context: PassContext) -> None:
    """The calibration can see another range of an LSTM's output than of its hidden state, although the operator stores the same
    numbers in both: before a multiplication or addition with a constant (a BatchNormalization), and in small models elsewhere.
    Where only elementwise operators read the output, which take any scale, the pass gives it that of the hidden state; else
    hidden state and STM get the scale of the output if that is the wider one, by up to two.
    """
    for graph in model.subgraphs:
        for operator in graph.operators:
            if operator_name(model, operator) != FUSED:
                continue
            output = operator.outputs[0]
            given, hidden = graph.tensors[output], graph.tensors[operator.intermediates[HIDDEN]]
            readers = [operator_name(model, each) for each in graph.operators if output in list(each.inputs)]
            if readers and output not in list(graph.outputs) and set(readers) <= {"MUL", "ADD", "SUB"}:
                given.quantization = copy.deepcopy(hidden.quantization)
            elif scale_of(hidden) and scale_of(hidden) < scale_of(given) <= 2 * scale_of(hidden):
                for tensor in (hidden, graph.tensors[operator.inputs[STATE]]):
                    tensor.quantization = copy.deepcopy(given.quantization)


def scale_of(tensor: schema.TensorT) -> float:
    """Return a tensor's only scale; 0 if it has none."""
    scales = getattr(tensor.quantization, "scale", None)
    return float(scales[0]) if scales is not None and len(scales) == 1 else 0.0


PASSES: tuple[Pass, ...] = (
    Pass("16-bit fused LSTMs", widen_to_int16, lambda context: context.is_int16_fused),
    Pass("Probabilities in steps of 1/256", widen_probabilities, lambda context: context.is_integer),
    Pass("One shared tensor of zeros", separate_memories),
    Pass("Names that count up", drop_names),
    Pass("An LTM beyond ±10", remove_cell_clip),
    Pass("An LTM that stays under 0.5", limit_ltm_scale, lambda context: context.is_integer and not context.is_trained),
    Pass("STM calibrated as another constant", share_stm_scale, lambda context: context.is_integer),
    Pass("An LSTM whose output has another range", share_output_scale, lambda context: context.is_integer),
)
BEFORE_CONVERSION: tuple[tuple[str, Callable], ...] = (
    ("Joined outputs", guarded),
    ("Negation in integers", without_negations),
    ("Limits in 16 bits", without_clips),
)
KNOWN_LIMITS: tuple[tuple[str, str], ...] = (
    (
        "WHILE in integers",
        "crashes the converter's calibration (tensorflow#75140). The converter runs in a subprocess, and this lowering is "
        "rejected.",
    ),
    (
        "A signature without inputs",
        "is rejected by LiteRT, so `initial_state` is a signature of the SavedModel only. In a `.tflite`, memories start at "
        "zero (in integers: at the zero point).",
    ),
    (
        "Consecutive elementwise operators, each with its own constant per channel",
        "(what `keras.layers.Add` followed by a `Rescaling` with several scales becomes) get the range of the last one from the "
        "calibration: an ADD in standard deviations before a multiplication into degrees is quantized in steps of degrees. Use "
        "a `Dense` with a diagonal kernel instead; in `forecast` that reduced the rounding error of the int8 file from 0.14 to "
        "0.04 standard deviations.",
    ),
    (
        "Calibration examples from one part of the data",
        "clip the values of the rest. The first 200 windows of a time series are one season, and ETTh1's int8 forecasts had a "
        "mean squared error of 0.76 instead of 0.03. Take examples evenly from the whole training data, as `train.py` does.",
    ),
)


def pitfalls_markdown() -> str:
    """Return the lists of docs/export.md: the pitfalls that the export works around, and those that remain."""
    around = [f"- **{title}.** {_one_line(function)}" for title, function in BEFORE_CONVERSION]
    around += [f"- **{each.name}.** {each.text}" for each in PASSES]
    remain = [f"- **{title}** {text}" for title, text in KNOWN_LIMITS]
    return "\n".join(
        [
            "Pitfalls the export works around, each covered by a test:",
            "",
            *around,
            "",
            "Those that remain:",
            "",
            *remain,
        ]
    )


def _one_line(function: Callable) -> str:
    """Return a docstring without its line breaks, and without the summary that addresses readers of the code."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[-1].split())


def _make_zeros(model: schema.ModelT, tensor: schema.TensorT) -> None:
    types = {schema.TensorType.FLOAT32: "float32", schema.TensorType.INT8: "int8", schema.TensorType.INT16: "int16"}
    points = tensor.quantization.zeroPoint if tensor.quantization is not None else None
    zero = int(points[0]) if points is not None and len(points) else 0
    tensor.isVariable = False
    tensor.buffer = add_buffer(model, np.full(tensor.shape, zero, types[tensor.type]).tobytes())
