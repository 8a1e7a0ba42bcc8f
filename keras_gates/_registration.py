"""The public names of keras_gates by module, and the registration of its classes with Keras.

Keras takes seconds to import, and the edge runtime and the command line start without it. So a name is imported when it is
first used, and the classes are registered (so that `keras.models.load_model` finds them) when Keras is imported, by whomever.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PUBLIC: dict[str, tuple[str, ...]] = {
    "_errors": ("GatesError", "InvalidArgument"),
    "conversion.keras_lstm": ("convert", "from_keras", "to_keras"),
    "conversion.torch_lstm": ("from_torch", "to_torch"),
    "edge": ("EdgeModel",),
    "exporting": (
        "CompiledRuntime",
        "ExportError",
        "ExportReport",
        "FitReport",
        "QuantizationReport",
        "export",
        "fit_report",
        "quantization_report",
    ),
    "inspection.ablation": ("ablate", "worth_of_gates"),
    "inspection.attribution": ("influence",),
    "inspection.horizon": ("Horizon", "memory_horizon"),
    "inspection.html_report.build": ("report",),
    "inspection.influence_data": ("Influence",),
    "inspection.influence_matrix": ("InfluenceMatrix", "influence_matrix"),
    "inspection.monitor": ("GateMonitor", "GateWarning"),
    "inspection.plots": (
        "plot_confusion",
        "plot_curves",
        "plot_flow",
        "plot_gates",
        "plot_horizon",
        "plot_memory",
        "plot_units",
    ),
    "inspection.probing": ("Unit", "find_units"),
    "inspection.summary": ("gate_summary",),
    "inspection.trace_data": ("LayerTrace", "Trace"),
    "inspection.tracing": ("trace",),
    "layers.base_gate": ("Gate",),
    "layers.cell": ("GateLSTMCell",),
    "layers.gates": ("ForgetGate", "LearnGate", "RememberGate", "UseGate"),
    "layers.initializers": ("start_with_span",),
    "layers.lstm": ("GateLSTM",),
    "layers.variants.always_open": ("OpenForgetGate", "OpenLearnGate", "OpenUseGate"),
    "layers.variants.coupled": ("CoupledForgetGate",),
    "layers.variants.layer_norm": ("LayerNormForgetGate", "LayerNormLearnGate", "LayerNormUseGate"),
    "layers.variants.peephole": ("PeepholeForgetGate", "PeepholeLearnGate", "PeepholeUseGate"),
    "layers.variants.projection": ("ProjectionUseGate",),
    "layers.variants.refine": ("RefineForgetGate",),
    "layers.variants.zoneout": ("ZoneoutRememberGate", "ZoneoutUseGate"),
    "loops.inputs": ("Weights",),
    "native.versions": ("show_versions",),
    "quantization.article": (),
    "quantization.aware": ("quantize_aware",),
    "quantization.folding": (),
    "quantization.recurrent": (),
    "quantization.sums": (),
    # The zoo's layers are registered with the others; their names stay in keras_gates.models.
    "models.layers.alphabet": (),
    "models.layers.logmel": (),
    "models.layers.votes": (),
    "models.layers.words": (),
}
MODULE_OF = {name: module for module, names in PUBLIC.items() for name in names}
WITHOUT_KERAS = ("_errors", "edge", "native.versions")
PACKAGES = (
    "cli",
    "conversion",
    "edge",
    "exporting",
    "inspection",
    "layers",
    "loops",
    "models",
    "native",
    "quantization",
)
HAS_KERAS = importlib.util.find_spec("keras") is not None


def load(name: str) -> Any:
    """Return the public object or package `name`, imported now.

    Raises:
        AttributeError: there is no public name like this.
        ImportError: it needs Keras, which is not installed.
    """
    if name in PACKAGES:
        return importlib.import_module(f"keras_gates.{name}")
    if name not in MODULE_OF:
        raise AttributeError(f"module 'keras_gates' has no attribute {name!r}")
    module = MODULE_OF[name]
    if module not in WITHOUT_KERAS and not HAS_KERAS:
        raise ImportError(
            f"keras_gates.{name} needs Keras, which is not installed here; only keras_gates.edge runs without it. For "
            "training and export: pip install 'keras-gates[tensorflow]' (or [jax], [torch])."
        )
    return getattr(importlib.import_module(f"keras_gates.{module}"), name)


def register() -> None:
    """Import every module that registers a class with Keras."""
    for module, names in PUBLIC.items():
        if module.startswith(("layers.", "models.layers.")) or (module.startswith("quantization.") and not names):
            importlib.import_module(f"keras_gates.{module}")


def register_with_keras() -> None:
    """Register the classes now if Keras is imported, else right after its import."""
    if sys.modules.get("keras") is not None:
        register()
    elif HAS_KERAS:
        sys.meta_path.insert(0, _AfterKeras())


class _AfterKeras(MetaPathFinder):
    """Registers the classes right after the first import of Keras."""

    # `register` imports these three, which import Keras: if it ran inside their import of Keras, it would find them half
    # executed. So each of them triggers it when it is complete.
    TRIGGERS = ("keras", "keras_gates.layers", "keras_gates.loops", "keras_gates._compat")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the module's own spec, whose execution is followed by the registration; None for any other module."""
        if name not in self.TRIGGERS:
            return None
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, specs), None)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            # Removed here and not in find_spec, which others call only to ask whether Keras is installed.
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            execute(module)
            register()

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
