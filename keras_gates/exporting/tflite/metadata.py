"""The JSON that a file says of itself, under the name `keras_gates`; `keras_gates.edge` reads exactly these keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

import keras_gates
from keras_gates.exporting.lowering.signatures import Signature
from keras_gates.exporting.report import ExportError, ExportReport

if TYPE_CHECKING:
    from keras_gates.exporting.build import Request

NAME = "keras_gates"
FORMAT = 1
_KNOWN = ("labels", "vocabulary", "frontend", "licence", "description", "task")


def facts_of(request: Request, report: ExportReport, signature: Signature, padded: dict[str, float]) -> dict[str, Any]:
    """What the export itself knows of the file."""
    timed = {port.name: port.time for port in request.inputs.ports} | signature.over_time
    inputs, outputs = (
        [{"name": name, "index": index, "role": role} for index, (name, role) in enumerate(ports.items())]
        for ports in (signature.inputs, signature.outputs)
    )
    for port in (*inputs, *outputs):
        if port["role"] in ("event", "prediction"):
            port["time"] = timed[port["name"]]
        elif port["role"] == "lengths":
            of = signature.counts[port["name"]]
            port |= {"of": of, "padding": {"value": padded[of]}}
    return {
        "name": request.model.name,
        "mode": request.mode,
        "form": report.form,
        "precision": request.precision,
        "target": request.target,
        "batch": request.batch,
        "steps": report.steps,
        "resizable": report.resizable,
        "reset": "fused" in report.form,
        "signature": signature.key,
        "inputs": inputs,
        "outputs": outputs,
        "states": signature.states,
    }


def metadata_text(facts: dict[str, Any], given: dict[str, Any] | None) -> str:
    """The entry's text.

    Args:
        facts: what the export knows: name, mode, form, precision, inputs, outputs, states, …
        given: what the caller passed: the known keys are told apart, the rest goes under "user".

    Raises:
        ExportError: something in `given` is not JSON.
    """
    given = dict(given or {})
    known = {key: given.pop(key) for key in _KNOWN if given.get(key) is not None}
    versions = {"keras_gates": keras_gates.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}
    entry = {"digest": "0" * 64, "format": FORMAT, **facts, **known, "versions": versions}
    if given:
        entry["user"] = given
    try:
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    except TypeError as error:
        raise ExportError(
            f"metadata must be plain values that JSON knows (str, number, list, dict): {error}."
        ) from error
