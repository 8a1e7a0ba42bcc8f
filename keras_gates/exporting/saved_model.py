"""SavedModel: `serve` for whole sequences, `step` and `initial_state` for streams.

Plain TensorFlow loads it, and `keras.layers.TFSMLayer`.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import keras
import tensorflow as tf
from keras import tree

from keras_gates.exporting.lowering import signatures
from keras_gates.exporting.lowering.streamable import streaming_of
from keras_gates.exporting.model_inputs import DEFAULT_STEPS, Inputs, output_names, random_samples


def write(model: keras.Model, inputs: Inputs, folder: Path) -> list[str]:
    """Write a SavedModel.

    The endpoint `serve` leaves batch and time as open as the model does. `step` exists if the model can run event by event:
    a named event and every layer's STM and LTM in, prediction and memories after it out, batch 1; `initial_state` returns
    the memories to start from.

    Args:
        model: The model.
        inputs: Its inputs.
        folder: Where to write; created.

    Returns:
        Notes for the report.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", _serve(model, inputs))
    reason = _add_step(archive, model, inputs)
    with contextlib.redirect_stdout(io.StringIO()):
        archive.write_out(str(folder), verbose=False)
    return [f"the SavedModel has no step signature: {reason}"] if reason else []


def _serve(model: keras.Model, inputs: Inputs) -> tf.types.experimental.GenericFunction:
    def serve(events):
        outputs = tree.flatten(model(inputs.pack(tree.flatten(events)), training=False))
        return dict(zip(output_names(model, len(outputs)), outputs))

    specs = inputs.open_specs(_batch(model))
    traced = tf.function(serve, autograph=False)
    traced.get_concrete_function(specs[0] if len(specs) == 1 else specs)
    return traced


def _batch(model: keras.Model) -> int | None:
    return model.inputs[0].shape[0] if getattr(model, "inputs", None) else None


def _add_step(archive: keras.export.ExportArchive, model: keras.Model, inputs: Inputs) -> str:
    """Add `step` and `initial_state`, or return the reason why not."""
    if any(port.dtype == "string" for port in inputs.ports):
        return "the model takes texts, of which one is a whole sequence"
    steps = inputs.steps or DEFAULT_STEPS
    calls = signatures.trace_calls(model, inputs, 1, steps, right_padded=False).calls
    if not calls:
        return "no layer has a memory"
    reason = streaming_of(model, inputs, calls, random_samples(model, inputs, steps, 1)[0], 1, False).why_not
    if not reason:
        signature = signatures.step_signature(model, inputs, calls, 1, 1, guard=False)
        archive.add_endpoint("step", signature.traced)
        archive.add_endpoint("initial_state", signatures.initial_state_signature(signature).traced)
    return reason
