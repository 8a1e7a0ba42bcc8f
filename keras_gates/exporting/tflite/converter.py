"""TensorFlow's converter, run in a child: a SavedModel folder in, the bytes of a .tflite file out."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from keras_gates.exporting import subprocess_worker
from keras_gates.exporting.report import ExportError


def convert(
    folder: str,
    signature: str,
    precision: str,
    feeds: list[dict[str, np.ndarray]] | None,
    float_operators: tuple[str, ...],
) -> bytes:
    """Convert one signature of a SavedModel with builtin operators alone.

    Args:
        folder: a SavedModel.
        signature: which of its functions to take. (Only one: LiteRT refuses a signature without inputs, TFLM several.)
        precision: "float32", "float16", "dynamic", "int8" or "int16x8".
        feeds: calibration: one dict, input name → array, a call, in order.
        float_operators: operator types left in float beside integers (a declared float front-end).

    Raises:
        ExportError: the converter refused, crashed or took too long.
    """
    data = Path(folder, "calibration.npz")
    if feeds:
        np.savez(data, **{name: np.stack([feed[name] for feed in feeds]) for name in feeds[0]})
    try:
        return subprocess_worker.call(
            _convert, folder, signature, precision, str(data) if feeds else None, float_operators
        )
    except subprocess_worker.ChildError as error:
        last = str(error).strip().splitlines()[-1]
        raise ExportError(f"TensorFlow's converter failed ({precision}): {last}\n{error}") from error


def _convert(folder: str, signature: str, precision: str, data: str | None, float_operators: tuple[str, ...]) -> bytes:
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

    arrays = np.load(data)
    calls = len(arrays[arrays.files[0]])

    def feeds():
        for i in range(calls):
            yield {name: arrays[name][i] for name in arrays.files}

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
