"""The exports of a run, each loaded again by the plain runtime that a user has, and compared with Keras on test data."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import keras_gates
from keras_gates.edge import EdgeModel
from keras_gates.models.lazy import tf
from keras_gates.models.registry import DeviceModel, ZooModel
from keras_gates.models.training.judging import probabilities
from keras_gates.models.training.run_config import RunConfig

SAMPLES = 300
CALIBRATION = 200
_POINTS, _VARIANCES = 0.05, 0.01  # accuracy, and squared error in variances, that rounding does not cost


@dataclass(frozen=True)
class Exports:
    """The results of a run's exports.

    Attributes:
        rows: one dict per file: file, bytes, samples, max_difference from Keras over the first test examples; for classes
            also keras_accuracy, accuracy and agreement (how often both predict the same class); for other models
            keras_scores and scores, by name.
        reports: the `keras_gates.ExportReport`s.
        failures: one sentence per file that could not be exported.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    reports: list[Any] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def deploy(zoo: ZooModel, model: Any, data: Any, config: RunConfig, folder: Path) -> Exports:
    """Write saved_model/ and a .tflite file per precision, and measure them.

    Args:
        zoo: the model's description.
        model: the trained `keras.Model`.
        data: a `keras_gates.models.data.pipeline.Data`, for calibration and comparison.
        config: with precision, mode and target.
        folder: of the run.
    """
    x, y = data.arrays("test", SAMPLES)
    calibration, _ = data.spread("train", CALIBRATION)
    exports = Exports()
    score = functools.partial(zoo.score, data) if zoo.score else None
    for number, precision in enumerate(config.precision):
        device = device_model(zoo, model, "int8" if precision == "int4" else precision)
        inputs = device.prepare(x)
        expected = device.core.predict(inputs, verbose=0)
        name = "model" if precision == "float32" else f"model-{precision}"
        try:
            report = keras_gates.export(
                device.core,
                folder,
                formats=["saved_model", "tflite"] if number == 0 else ["tflite"],
                precision=precision,
                mode=config.mode,
                target=config.target,
                calibration=device.prepare(calibration),
                metadata={**file_metadata(zoo, data, config.preset), **device.metadata},
                name=name,
            )
        except keras_gates.ExportError as error:
            exports.failures.append(f"{name}.tflite was not written: {error}")
            continue
        exports.reports.append(report)
        if number == 0:
            path = folder / "saved_model"
            output = run_saved_model(path, inputs)
            exports.rows.append(compared("saved_model/", _size(path), expected, output, y, score))
        if config.mode == "sequence" and report.latency_us is not None:  # None: only TFLite Micro runs the file
            path = folder / f"{name}.tflite"
            row = compared(path.name, _size(path), expected, run_tflite(path, inputs), y, score)
            exports.rows.append(row)
            if worse := much_worse(row):
                exports.failures.append(
                    f"{path.name} is of no use: {worse}. Use --precision dynamic, which keeps activations in float."
                )
    return exports


def much_worse(row: Mapping[str, Any]) -> str:
    """Return what a file lost against Keras if that is far more than rounding costs, else "".

    Args:
        row: of `compared`.
    """
    if "accuracy" in row and row["accuracy"] < row["keras_accuracy"] - _POINTS:
        return f"accuracy {row['accuracy']:.3g}, Keras {row['keras_accuracy']:.3g}"
    before, after = (row.get(name, {}).get("mse") for name in ("keras_scores", "scores"))
    if before is not None and after > 2 * before + _VARIANCES:
        return f"mse {after:.3g}, Keras {before:.3g}"
    return ""


def device_model(zoo: ZooModel, model: Any, precision: str) -> DeviceModel:
    """Return the part of a model that a device runs: what the zoo's `device` returns, by default the whole model."""
    if zoo.device is not None:
        return DeviceModel(*zoo.device(model, precision))
    return DeviceModel(model, lambda x: x, {})


def file_metadata(zoo: ZooModel, data: Any, preset: str) -> Mapping[str, Any]:
    """Return the metadata for a .tflite file of the zoo: description, task, labels, vocabulary, licence,
    and how the user's kind of file is read."""
    metadata = {
        "description": f"{zoo.name} ({preset}): {zoo.line}",
        "task": zoo.task,
        "labels": list(data.labels),
        "vocabulary": list(data.vocabulary),
        "table": dict(data.table),
        "licence": f"weights trained on {data.name}; {data.attribution}; {data.licence}",
    }
    return {name: value for name, value in metadata.items() if value}


def run_saved_model(path: Path, x: np.ndarray) -> np.ndarray:
    """Return the predictions of a SavedModel, loaded by TensorFlow alone."""
    logging.getLogger("absl").setLevel(logging.ERROR)  # it warns that the file has no gradients
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    name = next(iter(serve.structured_input_signature[1]))
    return next(iter(serve(**{name: tf.constant(x)}).values())).numpy()


def run_tflite(path: Path, x: np.ndarray) -> np.ndarray:
    """Return the predictions of a .tflite file, run as on a device by `keras_gates.edge`."""
    outputs = EdgeModel(path).predict(x)
    return next(iter(outputs.values())) if isinstance(outputs, dict) else outputs


def compared(
    file: str, size: int, expected: np.ndarray, output: np.ndarray, actual: np.ndarray, score: Any = None
) -> dict[str, Any]:
    """Return one row of `Exports.rows`.

    Args:
        file: name of the file.
        size: in bytes.
        expected: outputs of Keras.
        output: outputs of the file.
        actual: targets.
        score: (outputs, targets) → scores by name, for models that do not predict one class.
    """
    row = {
        "file": file,
        "bytes": size,
        "samples": len(actual),
        "max_difference": float(np.abs(output - expected).max()),
    }
    if expected.ndim == 2 and np.issubdtype(actual.dtype, np.integer) and actual.ndim == 1:
        by_keras, by_file = (probabilities(each).argmax(-1) for each in (expected, output))
        row["keras_accuracy"] = float((by_keras == actual).mean())
        row["accuracy"] = float((by_file == actual).mean())
        row["agreement"] = float((by_keras == by_file).mean())
    elif score is not None:
        row["keras_scores"], row["scores"] = score(expected, actual), score(output, actual)
    return row


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())
