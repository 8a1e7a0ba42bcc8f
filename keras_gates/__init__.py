"""keras_gates: an LSTM for Keras 3 whose four gates (learn, forget, remember, use) are named Keras sublayers.

With Keras installed, importing the package registers every class, so that `keras.models.load_model` finds them. On a device
without Keras the same import gives the edge runtime alone.
"""

from __future__ import annotations

import importlib
import importlib.util
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("keras-gates")
except PackageNotFoundError:
    __version__ = "unknown"

_NAMES = {
    "ablation": ("ablate", "worth_of_gates"),
    "callbacks": ("GateMonitor", "GateWarning"),
    "cell": ("GateLSTMCell", "Weights"),
    "conversion": ("convert", "from_keras", "to_keras"),
    "dependence": ("Horizon", "Influence", "influence", "memory_horizon"),
    "edge": ("EdgeModel",),
    "exporting": ("ExportError", "ExportReport", "export"),
    "gates": ("ForgetGate", "Gate", "LearnGate", "RememberGate", "UseGate"),
    "lstm": ("GateLSTM",),
    "open_gates": ("OpenForgetGate", "OpenLearnGate", "OpenUseGate"),
    "plots": (
        "plot_confusion",
        "plot_curves",
        "plot_flow",
        "plot_gates",
        "plot_horizon",
        "plot_memory",
        "plot_units",
    ),
    "projection": ("ProjectionUseGate",),
    "reporting": ("report",),
    "statistics": ("gate_summary",),
    "torch_conversion": ("from_torch", "to_torch"),
    "traces": ("LayerTrace", "Trace"),
    "tracing": ("trace",),
    "units": ("Unit", "find_units"),
    "variants": (
        "CoupledForgetGate",
        "LayerNormForgetGate",
        "LayerNormLearnGate",
        "LayerNormUseGate",
        "PeepholeForgetGate",
        "PeepholeLearnGate",
        "PeepholeUseGate",
    ),
    "zoneout": ("ZoneoutRememberGate", "ZoneoutUseGate"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(_MODULE_OF)
_HAS_KERAS = importlib.util.find_spec("keras") is not None


def __getattr__(name: str) -> Any:
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


if _HAS_KERAS:
    from keras_gates import gates, lstm, models, open_gates, projection, variants, zoneout  # noqa: F401  (registers the classes)
