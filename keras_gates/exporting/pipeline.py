"""export(): a Keras model to files that have shown that they do what the model does."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_gates.exporting import saved_model, subprocess_worker
from keras_gates.exporting.build import Request, build
from keras_gates.exporting.lowering.inputs import inputs_of
from keras_gates.exporting.options import FORMATS, FORMS, MODES, PRECISIONS, TARGETS
from keras_gates.exporting.report import ExportError, ExportReport

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def export(
    model: keras.Model,
    out: str | os.PathLike,
    formats: Sequence[str] = ("saved_model", "tflite"),
    precision: str = "float32",
    mode: str = "sequence",
    target: str = "cpu",
    batch: int = 1,
    calibration: Any = None,
    metadata: dict[str, Any] | None = None,
    form: str = "auto",
    *,
    steps: int | None = None,
    test: tuple[Any, Any] | None = None,
    name: str = "model",
    float_operators: Sequence[str] = (),
    beside: Sequence[str] = (),
) -> ExportReport:
    """Write a model as SavedModel, `.tflite` and C, prove that the files do what it does, and report.

    Every recurrent layer of the standard formulation (`GateLSTM`, `keras.layers.LSTM`, `RNN` over their cells) becomes one
    UNIDIRECTIONAL_SEQUENCE_LSTM; others become a one-step model, a loop or unrolled steps. The model is not changed.

    Args:
        model: any built Keras model.
        out: a folder; it is made where it is missing. Files of the same names are replaced, and only after they passed.
        formats: of "saved_model" (out/saved_model/), "tflite" (out/model.tflite), "c" (a microcontroller's files).
        precision: "float32"; "float16" (weights), "dynamic" (int8 weights, float activations); "int8", "int16x8" (integers
            throughout, input and output too; need `calibration`).
        mode: "sequence": a call is a whole sequence. "stream": a call is `steps` events (default 1), memory stays.
        target: "cpu" (LiteRT) or "micro" (TFLM: one signature, static shapes, operators it has).
        batch: sequences a call; fixed in the file.
        calibration: inputs, whole sequences in order: an array `(samples, time, features)`, a dict by input name, a list of
            arrays that are one sequence each, or a `tf.data.Dataset`. A fifth is held out and compared with Keras. Without
            it random inputs are compared.
        metadata: plain values for the file: "labels", "vocabulary", "frontend", "licence", "description", "task", and your own.
        form: "auto", or "fused", "step", "while", "unrolled" for the recurrent layers.
        steps: events a call; default: what the model fixes, else the calibration's length, else 16 (1 in a stream).
        test: `(inputs, targets)`; quality of Keras and of the file over it goes into the report.
        name: file name without its ending.
        float_operators: operator types that stay in float in an int8 file, for a front-end that integers cannot compute, e.g.
            `("FULLY_CONNECTED", "SQUARE", "LOG")` for a log-mel. By type: dense layers after the LSTM stay in float too.
        beside: other forms to convert and time too, for `report.latency_by_form`.

    Returns:
        The report, also written as out/export.json and out/export.txt (NAME.export.… for another name).

    Raises:
        ExportError: it cannot be done as asked, or the file differs from the model by more than `verify.TOLERANCE` allows.
        ValueError: an argument has an unknown value.

    Example:

    >>> model = keras.Sequential([keras.Input((10, 3)), keras_gates.GateLSTM(4)])
    >>> report = keras_gates.export(model, "out")
    >>> report.form, report.operators["UNIDIRECTIONAL_SEQUENCE_LSTM"]
    ('fused', 1)
    """
    formats = [formats] if isinstance(formats, str) else list(formats)
    _known("formats", formats, FORMATS)
    _known("precision", [precision], PRECISIONS)
    _known("mode", [mode], MODES)
    _known("target", [target], TARGETS)
    _known("form", [form], FORMS)
    _known("beside", list(beside), FORMS)
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"export traces the model with TensorFlow; Keras runs on {keras.backend.backend()} here. Save the model and export "
            "it with KERAS_BACKEND=tensorflow: `KERAS_BACKEND=tensorflow keras-gates export model.keras out/`."
        )
    if not isinstance(model, keras.Model):
        raise ExportError(f"export takes a keras.Model, got {type(model).__name__}. Wrap a layer in keras.Sequential.")
    if "c" in formats and "tflite" not in formats:
        formats.append("tflite")
    inputs = inputs_of(model)
    report = ExportReport(
        model.name, precision=precision, mode=mode, target=target, batch=batch, parameters=model.count_params()
    )
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export_", dir=out) as folder:
        made = Path(folder)
        if "tflite" in formats:
            subprocess_worker.start()
            request = Request(
                model,
                inputs,
                precision,
                mode,
                target,
                batch,
                steps,
                form,
                calibration,
                metadata,
                test,
                tuple(float_operators),
                tuple(beside),
            )
            built = build(request, report)
            made.joinpath(f"{name}.tflite").write_bytes(built.data)
            report.files["tflite"] = str(out / f"{name}.tflite")
            if "c" in formats:
                from keras_gates.exporting.micro.kit import write_c_kit

                kit = write_c_kit(built.data, made / "c", golden=built.golden, name=name)
                report.arena_bytes, report.arena_used_bytes = kit.arena_bytes, kit.arena_used
                report.files["c"] = str(out / "c")
        if "saved_model" in formats:
            saved_model.write(model, inputs, made / "saved_model", report)
            report.files["saved_model"] = str(out / "saved_model")
        told = "export" if name == "model" else f"{name}.export"
        made.joinpath(f"{told}.json").write_text(report.to_json() + "\n")
        made.joinpath(f"{told}.txt").write_text(f"{report}\n")
        with _alone(out):
            for path in sorted(made.iterdir()):
                _replace(path, out / path.name, made)
    return report


def _known(argument: str, values: list[str], known: Sequence[str]) -> None:
    for value in values:
        if value not in known:
            raise ValueError(f"export: {argument} must be of {', '.join(known)}; got {value!r}.")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Where two processes or threads put their files into one folder, one after the other: no set is of both."""
    if fcntl is None:
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _replace(source: Path, target: Path, aside: Path) -> None:
    """Renames; a folder that is in the way goes into `aside` first, since nothing can be renamed over it."""
    if target.is_dir():
        target.rename(aside / f"{target.name}.old")
    os.replace(source, target)
