"""keras_gates: an LSTM for Keras 3 whose four gates (learn, forget, remember, use) are named Keras sublayers.

Importing the package registers every class, those of the zoo too, so that `keras.models.load_model` finds them; where Keras is
not imported yet, as soon as it is: the edge runtime and the command line start without Keras, which takes seconds. On a
device without Keras the same import gives the edge runtime alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

try:
    __version__ = version("keras-gates")
except PackageNotFoundError:
    __version__ = "unknown"

_NAMES = {
    "inspection.ablation": ("ablate", "worth_of_gates"),
    "inspection.monitor": ("GateMonitor", "GateWarning"),
    "layers.cell": ("GateLSTMCell", "Weights"),
    "conversion.keras_lstm": ("convert", "from_keras", "to_keras"),
    "inspection.attribution": ("Horizon", "Influence", "influence", "memory_horizon"),
    "edge": ("EdgeModel",),
    "exporting": ("ExportError", "ExportReport", "export"),
    "layers.gates": ("ForgetGate", "Gate", "LearnGate", "RememberGate", "UseGate"),
    "layers.lstm": ("GateLSTM",),
    "layers.variants.always_open": ("OpenForgetGate", "OpenLearnGate", "OpenUseGate"),
    "inspection.plots": (
        "plot_confusion",
        "plot_curves",
        "plot_flow",
        "plot_gates",
        "plot_horizon",
        "plot_memory",
        "plot_units",
    ),
    "layers.variants.projection": ("ProjectionUseGate",),
    "inspection.html_report.build": ("report",),
    "inspection.summary": ("gate_summary",),
    "conversion.torch_lstm": ("from_torch", "to_torch"),
    "inspection.trace_data": ("LayerTrace", "Trace"),
    "inspection.tracing": ("trace",),
    "inspection.probing": ("Unit", "find_units"),
    "layers.variants.peephole": (
        "CoupledForgetGate",
        "LayerNormForgetGate",
        "LayerNormLearnGate",
        "LayerNormUseGate",
        "PeepholeForgetGate",
        "PeepholeLearnGate",
        "PeepholeUseGate",
    ),
    "layers.variants.zoneout": ("ZoneoutRememberGate", "ZoneoutUseGate"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(_MODULE_OF)
_PACKAGES = ("cli", "conversion", "edge", "exporting", "inspection", "layers", "loops", "models")
_HAS_KERAS = importlib.util.find_spec("keras") is not None
_DEFINING = (
    "layers.lstm",
    "layers.variants.always_open",
    "layers.variants.projection",
    "layers.variants.peephole",
    "layers.variants.zoneout",
    "models.layers.alphabet",
    "models.layers.logmel",
    "models.layers.words",
)
_WITHOUT_KERAS = ("cli", "edge", "exporting", "models", "_quiet")


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"keras_gates.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'keras_gates' has no attribute {name!r}")
    module = _MODULE_OF[name]
    if module != "edge" and not _HAS_KERAS:
        raise ImportError(
            f"keras_gates.{name} needs Keras, which is not installed here; keras_gates.edge is what runs without it. For "
            "training and export: pip install 'keras-gates[tensorflow]' (or [jax], [torch])."
        )
    return getattr(importlib.import_module(f"keras_gates.{module}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _register() -> None:
    for module in _DEFINING:
        importlib.import_module(f"keras_gates.{module}")


class _WhenKerasComes(MetaPathFinder):
    """Has the classes registered right after the first import of Keras, or of a module of ours that is about to import it."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, module = name.partition(".")
        if name != "keras" and (package != "keras_gates" or module.split(".")[0] in _WITHOUT_KERAS):
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            _register()

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


if sys.modules.get("keras") is not None:
    _register()
elif _HAS_KERAS:
    sys.meta_path.insert(0, _WhenKerasComes())
