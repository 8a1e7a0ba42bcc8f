"""`export`: from a Keras model to files verified against it. The only place of this package that writes files for the user."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gates import _files
from keras_gates._arguments import typed
from keras_gates.exporting import front_end, output_units, saved_model, subprocess_worker
from keras_gates.exporting.build import Built, build
from keras_gates.exporting.lowering.stream_layers import stride_of
from keras_gates.exporting.model_inputs import inputs_of
from keras_gates.exporting.options import ExportRequest
from keras_gates.exporting.report import ExportError, ExportReport
from keras_gates.exporting.unfinished import full_disk, unfinished_folder
from keras_gates.layers.unchanged import leaves_model_unchanged
from keras_gates.quantization.aware import file_numbers, float_model, is_quantize_aware, precision_of
from keras_gates.quantization.layers import LayerNumbers


@typed
@leaves_model_unchanged
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
    lowering: str = "auto",
    *,
    steps: int | None = None,
    test: tuple[Any, Any] | None = None,
    name: str = "model",
    float_operators: Sequence[str] = (),
    also_time: Sequence[str] = (),
) -> ExportReport:
    """Write a model as SavedModel, `.tflite` or C, verify the files against it, and report.

    Every recurrent layer of the standard formulation (`GateLSTM`, `keras.layers.LSTM`, `RNN` over their cells) becomes one
    UNIDIRECTIONAL_SEQUENCE_LSTM; others become a one-step model, a loop or unrolled steps. The model is not changed.

    Args:
        model: Any built Keras model, on the TensorFlow backend. One of `keras_gates.quantize_aware` is written with the scales
            it was trained with, needs no calibration and no `lowering`, and is compared with its own forward pass.
        out: Output folder; created if it does not exist. Files of the same names are replaced, after verification only.
        formats: Of "saved_model" (out/saved_model/), "tflite" (out/model.tflite), "c" (out/c/, C++ for a microcontroller;
            includes "tflite"), "c99" (out/c99/, C without a runtime; includes "tflite").
        precision: "float32"; "float16" (weights); "dynamic" (int8 weights, float activations); "int8" or "int16x8" (integers
            throughout, input and output included; need `calibration`); "int4": int8 with two weights per byte, of a model of
            `quantize_aware(…, "int4")`, for `EdgeModel` and "c99". A normalization or log-mel layer that the model
            begins with then stays outside the graph (the report names it).
        mode: "sequence": one call takes a whole sequence. "stream": one call takes `steps` time steps, and STM (hidden state)
            and LTM (cell state) persist between calls.
        target: "cpu" (LiteRT) or "micro" (TFLM: one signature, static shapes, the operators it has).
        batch: Sequences per call; baked into the file.
        calibration: Whole sequences of inputs, time steps in order: an array `(samples, time, features)`, a dict by input
            name, a list of arrays with one sequence each, or a `tf.data.Dataset`. A fifth is held out and compared with
            Keras. None compares random inputs.
        metadata: JSON values for the file: "labels", "vocabulary", "frontend", "licence", "description", "task", and any
            other key.
        lowering: How recurrent layers run: "fused", "step", "while" or "unrolled"; "auto" chooses per layer.
        steps: Time steps per call. None takes what the model fixes, else the calibration's length, else 16; in a stream 1, or
            the product of the strides of its convolutions and pooling.
        test: `(inputs, targets)`; the report gets the quality of Keras and of the file on them.
        name: File name without its ending.
        float_operators: Operator types that stay in float in an int8 file, for a front end that integers cannot represent,
            e.g. `("FULLY_CONNECTED", "SQUARE", "LOG")` for a log-mel. By type: dense layers after the LSTM stay in float too.
        also_time: Other lowerings to convert and time as well, for `report.latency_by_lowering`.

    Returns:
        The report, also written as out/export.json and out/export.txt (NAME.export.… for another name).

    Raises:
        ExportError: The export is impossible as requested, the disk is full, or the file differs from the model by more than
            `verify.compare.LIMITS` allow. Nothing is written.
        ValueError: An argument has an unknown value.

    Example:

    >>> model = keras.Sequential([keras.Input((10, 3)), keras_gates.GateLSTM(4)])
    >>> report = keras_gates.export(model, "out")
    >>> report.lowering, report.operators["UNIDIRECTIONAL_SEQUENCE_LSTM"]
    ('fused', 1)
    """
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"export traces the model with TensorFlow; Keras runs on {keras.backend.backend()} here. Save the model and export "
            "it with KERAS_BACKEND=tensorflow: `KERAS_BACKEND=tensorflow keras-gates export model.keras out/`."
        )
    if not isinstance(model, keras.Model):
        raise ExportError(f"export takes a keras.Model, got {type(model).__name__}. Wrap a layer in keras.Sequential.")
    packs = precision == "int4"
    if packs:
        _check_packed(model, formats)
        precision = "int8"
    trained: tuple[LayerNumbers, ...] = ()
    reference = None
    if is_quantize_aware(model):
        _check_trained(model, precision, target)
        trained, reference, model = tuple(file_numbers(model)), model, float_model(model)
    if mode == "stream" and steps is None and stride_of(model) > 1:
        steps = stride_of(model)
    request = ExportRequest(
        model=model,
        inputs=inputs_of(model),
        formats=(formats,) if isinstance(formats, str) else tuple(formats),
        precision=precision,
        mode=mode,
        target=target,
        batch=batch,
        steps=steps,
        lowering=lowering,
        calibration=calibration,
        metadata=_plain(metadata),
        test=test,
        float_operators=tuple(float_operators),
        also_time=tuple(also_time),
        trained=trained,
        reference=reference,
        packs=packs,
    )
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with unfinished_folder(folder) as unfinished:
            report = _write(request, unfinished, folder, name)
            _move(unfinished, folder)
    except Exception as error:
        if reason := full_disk(error):
            raise ExportError(
                f"{folder}: the export cannot be written: {reason}. Make room there and in {tempfile.gettempdir()}, where the "
                "converter works; what was in the folder before is unchanged."
            ) from error
        raise
    return report


def _check_trained(model: keras.Model, precision: str, target: str) -> None:
    """Raise if a model trained in integers is to be written with others."""
    expected = "int16x8" if precision_of(model) == "int16x8" else "int8"
    if precision != expected:
        raise ExportError(
            f"{model.name} was trained in integers and exports with precision={expected!r}, not {precision!r}. For another one, "
            "export keras_gates.quantization.aware.float_model(model)."
        )
    if expected == "int16x8" and target != "micro":
        raise ExportError(
            f"{model.name} was trained in TFLM's arithmetic of 16 bits, in which LiteRT has no LSTM; export it with "
            "target='micro'."
        )


def _check_packed(model: keras.Model, formats: Sequence[str]) -> None:
    """Raise if a model cannot be written with two weights per byte."""
    if not is_quantize_aware(model) or precision_of(model) != "int4":
        raise ExportError(
            "precision='int4' takes a model whose weights were trained in 4 bits: keras_gates.quantize_aware(model, 'int4', "
            "calibration=…), then fit. Without training use 'int8'."
        )
    if "c" in ([formats] if isinstance(formats, str) else formats):
        raise ExportError(
            "TFLM has no LSTM with weights of 4 bits: take formats=('c99',), C without a runtime, or precision='int8'."
        )


def _plain(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the metadata with NumPy's arrays and numbers as Python's own, a scikit-learn encoder's classes as strings."""
    if metadata is None:
        return None
    plain = {
        key: value.tolist() if isinstance(value, np.ndarray | np.generic) else value for key, value in metadata.items()
    }
    if isinstance(metadata.get("labels"), np.ndarray):
        plain["labels"] = [str(label) for label in plain["labels"]]
    return plain


def _write(request: ExportRequest, unfinished: Path, out: Path, name: str) -> ExportReport:
    """Write everything into the folder `unfinished`; the report names the paths in `out`, where it will be moved."""
    files: dict[str, str] = {}
    built, kit, notes = None, None, []
    if request.needs_tflite:
        subprocess_worker.start()
        with front_end.kept_outside(request) as (rest, before), output_units.units_outside(rest) as (inner, after):
            built = build(inner)
        notes += [*before, *after]
        unfinished.joinpath(f"{name}.tflite").write_bytes(built.file.data)
        files["tflite"] = str(out / f"{name}.tflite")
    if built and "c" in request.formats:
        from keras_gates.exporting.micro.kit import write_c_kit

        kit = write_c_kit(built.file.data, unfinished / "c", golden=built.verification.golden, name=name)
        files["c"] = str(out / "c")
    if built and "c99" in request.formats:
        from keras_gates.exporting.c99.write import write_c99

        write_c99(built.file.data, unfinished / "c99", name=name)
        files["c99"] = str(out / "c99")
    if "saved_model" in request.formats:
        notes += saved_model.write(request.model, request.inputs, unfinished / "saved_model")
        files["saved_model"] = str(out / "saved_model")
    arena = (kit.arena_bytes, kit.arena_used) if kit else built.verification.arena if built else (None, None)
    report = _report(request, built, arena, files, notes)
    stem = "export" if name == "model" else f"{name}.export"
    # The report in the folder names the files without the folder, which may be moved.
    movable = dataclasses.replace(report, files={kind: Path(path).name for kind, path in files.items()})
    unfinished.joinpath(f"{stem}.json").write_text(movable.to_json() + "\n", encoding="utf-8")
    unfinished.joinpath(f"{stem}.txt").write_text(f"{movable}\n", encoding="utf-8")
    return report


def _report(
    request: ExportRequest,
    built: Built | None,
    arena: tuple[int | None, int | None],
    files: dict[str, str],
    notes: list[str],
) -> ExportReport:
    asked: dict[str, Any] = {
        "name": request.model.name,
        "parameters": request.model.count_params(),
        "precision": "int4" if request.packs else request.precision,
        "mode": request.mode,
        "target": request.target,
        "batch": request.batch,
        "files": files,
    }
    if built is None:
        return ExportReport(**asked, notes=notes)
    lowering, file, verified = built.lowering, built.file, built.verification
    return ExportReport(
        **asked,
        lowering=lowering.name,
        why=lowering.why,
        layers=lowering.layers,
        steps=built.steps,
        bytes=len(file.data),
        metadata_bytes=file.metadata_bytes,
        operators=file.operators,
        resizable=file.resizable,
        samples=verified.difference.samples,
        max_difference=verified.difference.worst.largest,
        mean_difference=verified.difference.worst.mean,
        tolerance=verified.difference.worst.wrong,
        outputs={
            each.name: {
                "mean": each.mean,
                "high": each.high,
                "max": each.largest,
                "spread": each.spread,
                "tolerance": each.wrong,
                "agreement": each.agreement,
            }
            for each in verified.difference.outputs
        },
        agreement=verified.difference.agreement,
        quality=verified.quality,
        latency_us=verified.latency_us,
        latency_by_lowering=built.latency_by_lowering,
        ram_bytes=file.ram_bytes,
        arena_bytes=arena[0],
        arena_used_bytes=arena[1],
        notes=[*built.notes, *notes],
        warnings=built.warnings,
    )


def _move(unfinished: Path, out: Path) -> None:
    """Rename into `out`, under the folder's lock: two exports at once do not mix their files."""
    folder = os.open(out, os.O_RDONLY) if hasattr(os, "O_DIRECTORY") else None  # Windows opens no folders
    try:
        if folder is None:
            return _rename_all(unfinished, out)
        with _files.lock(folder):
            _rename_all(unfinished, out)
    finally:
        if folder is not None:
            os.close(folder)


def _rename_all(unfinished: Path, out: Path) -> None:
    for path in sorted(unfinished.iterdir()):
        target = out / path.name
        if target.is_dir():  # nothing can be renamed over a folder: move the old one away first
            target.rename(unfinished / f"{target.name}.old")
        os.replace(path, target)
