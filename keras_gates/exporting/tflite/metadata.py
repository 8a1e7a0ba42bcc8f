"""The finished file: its metadata entry `keras_gates`, of which `keras_gates.edge` reads exactly these keys."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

import keras_gates
from keras_gates.edge import tflite
from keras_gates.exporting.lowering.rules import Lowering
from keras_gates.exporting.lowering.signatures import LoweredSignature
from keras_gates.exporting.model_inputs import is_made_up
from keras_gates.exporting.options import ExportRequest
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.tflite import checks, flatbuffer
from keras_gates.exporting.tflite.converter import Converted
from keras_gates.exporting.tflite.outputs import activation_of

NAME = "keras_gates"
FORMAT = 1
_KNOWN = ("labels", "vocabulary", "frontend", "licence", "description", "task")


@dataclass(frozen=True)
class TFLiteFile:
    """A finished file.

    Attributes:
        data: its bytes.
        metadata_bytes: how many of them are metadata.
        operators: operator name → count.
        resizable: whether its metadata say that the time axis may be resized.
        ram_bytes: size of all tensors that are not constants.
    """

    data: bytes
    metadata_bytes: int
    operators: dict[str, int]
    resizable: bool
    ram_bytes: int


def add_metadata(
    request: ExportRequest,
    lowering: Lowering,
    signature: LoweredSignature,
    converted: Converted,
    steps: int,
    *,
    resizable: bool,
) -> TFLiteFile:
    """Return the converted file with its metadata.

    Args:
        request: What was asked for.
        lowering: How the recurrent layers run.
        signature: The file's function.
        converted: The converted file.
        steps: Time steps per sequence or call.
        resizable: Whether the time axis may be resized.

    Raises:
        ExportError: the user's metadata are not JSON, or the file needs operators that LiteRT lacks.
    """
    outputs = _ports(request, signature, signature.outputs)
    for port in outputs:
        if port["role"] == "prediction" and (activation := activation_of(converted.model, port["name"])):
            port["activation"] = activation
    predicted = (port for port in outputs if port["role"] == "prediction")
    for port, units in zip(predicted, request.units):
        if units is not None:
            port["units"] = units.metadata()
    facts = {
        "name": request.model.name,
        "mode": request.mode,
        "lowering": lowering.name,
        "precision": request.precision,
        "target": request.target,
        "batch": request.batch,
        "steps": steps,
        "resizable": resizable,
        "reset": lowering.is_fused,
        "signature": signature.key,
        "inputs": _ports(request, signature, signature.inputs),
        "outputs": outputs,
        "states": signature.states,
        **({"warmup": signature.warmup} if signature.warmup else {}),
    }
    data = flatbuffer.with_metadata(converted.model, NAME, metadata_text(facts, request.metadata))
    file = tflite.read(data)
    checks.check_builtin(file)
    metadata_bytes = len(data) - converted.bytes
    return TFLiteFile(data, metadata_bytes, checks.count_operators(file), resizable, checks.ram_bytes(file))


def _ports(request: ExportRequest, signature: LoweredSignature, roles: dict[str, str]) -> list[dict[str, Any]]:
    timed = {port.name: port.time for port in request.inputs.ports} | signature.over_time
    keras_names = {port.name: port.keras_name for port in request.inputs.ports}
    ports: list[dict[str, Any]] = []
    for index, (name, role) in enumerate(roles.items()):
        ports.append({"name": name, "index": index, "role": role})
        if role in ("event", "prediction"):
            ports[-1]["time"] = timed[name]
            if role == "event" and keras_names[name] != name and not is_made_up(keras_names[name]):
                ports[-1]["keras_name"] = keras_names[name]
        elif role == "lengths":
            of = signature.counts[name]
            ports[-1] |= {"of": of, "padding": {"value": signature.padded[of]}}
    return ports


def metadata_text(facts: dict[str, Any], metadata: dict[str, Any] | None) -> str:
    """Return the entry's text.

    Args:
        facts: What the export knows: name, mode, lowering, precision, inputs, outputs, states, …
        metadata: The user's: known keys stay at the top, the rest goes under "user".

    Raises:
        ExportError: a value in `metadata` is not JSON.
    """
    user = dict(metadata or {})
    known = {key: user.pop(key) for key in _KNOWN if user.get(key) is not None}
    versions = {"keras_gates": keras_gates.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}
    entry = {"digest": "0" * 64, "format": FORMAT, **facts, **known, "versions": versions}
    if user:
        entry["user"] = user
    try:
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    except TypeError as error:
        raise ExportError(f"metadata must be JSON values (str, number, list, dict): {error}.") from error
