"""SavedModel: `serve` for whole sequences, loadable by plain TensorFlow and by `keras.layers.TFSMLayer`."""

from __future__ import annotations

from pathlib import Path

import keras

from keras_gates.exporting.report import ExportReport


def write(model: keras.Model, folder: Path, report: ExportReport) -> None:
    """Write `model` with the endpoint `serve`; batch and time stay as open as the model leaves them."""
    model.export(str(folder), format="tf_saved_model", verbose=False)
