"""The exports of a run, each loaded back by the plain runtime that a user would have, and compared with Keras on test
data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from keras_gates.models.registry import ZooModel
from keras_gates.models.training.judging import probabilities

from keras_gates.edge import EdgeModel

SAMPLES = 300
CALIBRATION = 200


@dataclass
class Exports:
    """What came of the exports of a run.

    Attributes:
        rows: a dict a file: file, bytes, samples, max_difference from Keras over the first test examples, and where there
            are classes keras_accuracy, accuracy and agreement (how often both say the same class).
        reports: the `ExportReport`s.
        failures: a sentence for each file that could not be made.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    reports: list[Any] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def deploy(zoo: ZooModel, model: Any, data: Any, config: dict[str, Any], folder: Path) -> Exports:
    """Writes `saved_model/` and a .tflite for every precision asked for, and measures them."""
    import keras_gates

    x, y = data.arrays("test", SAMPLES)
    seen = data.spread("train", CALIBRATION)[0]
    rows, reports, failures = [], [], []
    for number, precision in enumerate(config["precision"]):
        core, prepare, told = zoo.device(model, precision) if zoo.device is not None else (model, lambda x: x, {})
        inputs, calibration = prepare(x), prepare(seen)
        expected = core.predict(inputs, verbose=0)
        name = "model" if precision == "float32" else f"model-{precision}"
        try:
            report = keras_gates.export(
                core,
                folder,
                ["saved_model", "tflite"] if number == 0 else ["tflite"],
                precision,
                config["mode"],
                config["target"],
                calibration=calibration,
                metadata={**_metadata(zoo, data, config), **told},
                name=name,
            )
        except keras_gates.ExportError as error:
            failures.append(f"{name}.tflite was not made: {error}")
            continue
        reports.append(report)
        if number == 0:
            path = folder / "saved_model"
            rows.append(_row("saved_model/", _size(path), expected, run_saved_model(path, inputs), y))
        if config["mode"] == "sequence" and report.latency_us is not None:  # else it runs in TFLM alone
            path = folder / f"{name}.tflite"
            rows.append(_row(path.name, _size(path), expected, run_tflite(path, inputs), y))
    return Exports(rows, reports, failures)


def _metadata(zoo: ZooModel, data: Any, config: dict[str, Any]) -> dict[str, Any]:
    told = {
        "description": f"{zoo.name} ({config['preset']}): {zoo.line}",
        "task": zoo.task,
        "labels": list(data.labels),
        "vocabulary": list(data.vocabulary),
        "licence": f"weights trained on {data.name}; {data.attribution}; {data.licence}",
    }
    return {name: value for name, value in told.items() if value}


def run_saved_model(path: Path, x: np.ndarray) -> np.ndarray:
    """The answers of a SavedModel, loaded by TensorFlow alone."""
    import tensorflow as tf

    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    name = next(iter(serve.structured_input_signature[1]))
    return next(iter(serve(**{name: tf.constant(x)}).values())).numpy()


def run_tflite(path: Path, x: np.ndarray) -> np.ndarray:
    """The answers of a .tflite on a device: memories empty before each example, padding counted, integers made real."""
    answers = EdgeModel(path).predict(x)
    return next(iter(answers.values())) if isinstance(answers, dict) else answers


def _row(file: str, size: int, expected: np.ndarray, answer: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    row = {"file": file, "bytes": size, "samples": len(truth), "max_difference": float(np.abs(answer - expected).max())}
    if expected.ndim == 2 and np.issubdtype(truth.dtype, np.integer) and truth.ndim == 1:
        keras_says, file_says = (probabilities(output).argmax(-1) for output in (expected, answer))
        row["keras_accuracy"] = float((keras_says == truth).mean())
        row["accuracy"] = float((file_says == truth).mean())
        row["agreement"] = float((keras_says == file_says).mean())
    return row


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())
