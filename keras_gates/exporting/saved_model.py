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
from keras_gates.exporting.lowering.inputs import DEFAULT_STEPS, Inputs, output_names
from keras_gates.exporting.lowering.streamable import why_not_streamable
from keras_gates.exporting.report import ExportReport
from keras_gates.exporting.verify import samples


def write(model: keras.Model, inputs: Inputs, folder: Path, report: ExportReport) -> None:
    """Write the endpoint `serve`, batch and time as open as the model leaves them, and `step` where the model can run
    event by event: a named event and every layer's STM and LTM in, prediction and memories after it out, batch 1;
    `initial_state` gives the memories to begin with.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", _serve(model, inputs))
    reason = _add_step(archive, model, inputs)
    if reason:
        report.notes.append(f"the SavedModel has no step signature: {reason}")
    with contextlib.redirect_stdout(io.StringIO()):
        archive.write_out(str(folder), verbose=False)


def _serve(model: keras.Model, inputs: Inputs) -> tf.types.experimental.GenericFunction:
    def serve(events):
        answers = tree.flatten(model(inputs.pack(tree.flatten(events)), training=False))
        return dict(zip(output_names(model, len(answers)), answers))

    specs = inputs.open_specs(_batch(model))
    traced = tf.function(serve, autograph=False)
    traced.get_concrete_function(specs[0] if len(specs) == 1 else specs)
    return traced


def _batch(model: keras.Model) -> int | None:
    return model.inputs[0].shape[0] if getattr(model, "inputs", None) else None


def _add_step(archive: keras.export.ExportArchive, model: keras.Model, inputs: Inputs) -> str:
    asked = signatures.look(model, inputs, 1, inputs.steps or DEFAULT_STEPS, right_padded=False)
    if not asked.calls:
        return "no layer has a memory"
    sample = samples.random_samples(model, inputs, inputs.steps or DEFAULT_STEPS, 1)[0]
    reason = why_not_streamable(model, inputs, asked.calls, sample)
    if not reason:
        signature = signatures.step_signature(model, inputs, asked.calls, 1, 1, guard=False)
        archive.add_endpoint("step", signature.traced)
        archive.add_endpoint("initial_state", signatures.initial_state_signature(signature).traced)
    return reason
