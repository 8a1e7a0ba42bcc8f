"""From a Keras model to files for the edge, each proven against the model: `keras_gates.export`."""

from __future__ import annotations

import importlib
from typing import Any

_MODULE_OF = {
    "CompiledRuntime": "c99.engine",
    "export": "pipeline",
    "fit_report": "fit",
    "ExportError": "report",
    "ExportReport": "report",
    "FitReport": "fit",
    "QuantizationReport": "verify.noise",
    "quantization_report": "quantization",
}
__all__ = [
    "CompiledRuntime",
    "ExportError",
    "ExportReport",
    "FitReport",
    "QuantizationReport",
    "export",
    "fit_report",
    "quantization_report",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'keras_gates.exporting' has no attribute {name!r}")
    return getattr(importlib.import_module(f"keras_gates.exporting.{_MODULE_OF[name]}"), name)
