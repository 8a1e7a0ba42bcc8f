"""TensorFlow's converter, run in a subprocess, and the passes over what it returns."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.edge import tflite
from keras_gates.exporting import subprocess_worker
from keras_gates.exporting.lowering import signatures
from keras_gates.exporting.lowering.rules import Lowering
from keras_gates.exporting.lowering.signatures import LoweredSignature
from keras_gates.exporting.options import ExportRequest
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.tflite import checks, flatbuffer
from keras_gates.exporting.tflite.graph import without_clips, without_negations
from keras_gates.exporting.tflite.int16 import to_int16
from keras_gates.exporting.tflite.passes import PassContext, run_passes
from keras_gates.exporting.tflite.trained_scales import write_trained


@dataclass(frozen=True)
class Converted:
    """A converted file without metadata.

    Attributes:
        model: the file as objects of the schema.
        bytes: its size.
        notes, warnings: sentences for the report.
    """

    model: Any
    bytes: int
    notes: list[str]
    warnings: list[str]


def convert(
    request: ExportRequest,
    lowering: Lowering,
    signature: LoweredSignature,
    calls: list[dict[str, np.ndarray]] | None,
    steps: int,
) -> Converted:
    """Convert one signature, with builtin operators alone, and run the passes.

    Args:
        request: What was asked for.
        lowering: How the recurrent layers run.
        signature: The function to convert. (Only one: LiteRT rejects a signature without inputs, TFLM several.)
        calls: For integers: calibration inputs by name, one dict per call, in order.
        steps: Time steps per sequence or call.

    Raises:
        ExportError: the converter failed, crashed or took too long, or its file is not what it should be.
    """
    int16_fused = request.precision == "int16x8" and lowering.is_fused
    precision = "int8" if int16_fused else request.precision
    with tempfile.TemporaryDirectory(prefix="keras_gates_") as folder:
        signatures.save(request.model, signature, folder)
        if request.is_integer:
            without_negations(folder)
        if request.precision == "int16x8":
            without_clips(folder)
        data = str(Path(folder, "calibration.npz")) if calls else None
        if calls:
            np.savez(str(data), **_stacked(calls))
        try:
            converted = subprocess_worker.call(
                _convert, folder, signature.key, precision, data, request.float_operators
            )
        except subprocess_worker.ChildError as error:
            raise ExportError(f"TensorFlow's converter failed ({precision}): {error.reason}") from error
    model = flatbuffer.load(converted)
    sequence_steps = None if request.is_stream else steps
    names = list(signature.inputs), list(signature.outputs)
    predictions = tuple(name for name, role in signature.outputs.items() if role == "prediction")
    if request.trained:
        if int16_fused:  # first, as what was trained are the integers of the finished file
            to_int16(model)
            int16_fused = False
        write_trained(model, request.trained)
    is_trained = bool(request.trained)
    run_passes(model, PassContext(*names, request.is_integer, int16_fused, sequence_steps, predictions, is_trained))
    plain = flatbuffer.dump(model)
    if not request.is_integer:
        return Converted(model, len(plain), [], [])
    checks.check_scales(model)
    floats = checks.float_operators(tflite.read(plain))
    listed = ", ".join(f"{count} {name}" for name, count in floats.items())
    if floats and request.target == "micro" and not request.float_operators:
        raise ExportError(
            f"operators left in float: {listed}. They have no integer kernel; take the layer out of the model."
        )
    notes = [f"in float, as declared: {listed}"] if floats and request.float_operators else []
    return Converted(model, len(plain), notes, [f"operators left in float: {listed}"] if floats and not notes else [])


def _stacked(calls: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    return {name: np.stack([call[name] for call in calls]) for name in calls[0]}


def _convert(folder: str, signature: str, precision: str, data: str | None, float_operators: tuple[str, ...]) -> bytes:
    """Run in the child: a SavedModel folder in, the bytes of a .tflite file out."""
    import tensorflow as tf

    warnings.simplefilter("ignore")
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[signature])
    if precision == "float32":
        return converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision in ("float16", "dynamic"):
        return converter.convert()

    assert data is not None  # integers are refused without calibration
    with np.load(data) as file:
        arrays = dict(file)  # a look into the file itself reads the whole array, in every call again

    def feeds():
        for values in zip(*arrays.values()):
            yield dict(zip(arrays, values))

    sets = tf.lite.OpsSet
    integer = {
        "int8": (sets.TFLITE_BUILTINS_INT8, tf.int8),
        "int16x8": (sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8, tf.int16),
    }
    operators, dtype = integer[precision]
    converter.representative_dataset = feeds
    converter.target_spec.supported_ops = [operators]
    if float_operators:
        converter.target_spec.supported_ops.append(sets.TFLITE_BUILTINS)
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=list(float_operators))
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=feeds, debug_options=options
        )
        return debugger.get_nondebug_quantized_model()
    converter.inference_input_type = converter.inference_output_type = dtype
    return converter.convert()
