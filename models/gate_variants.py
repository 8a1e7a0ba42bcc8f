"""Gate variants from the literature, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras_gates as kg
from keras_gates.models.registry import UserError

VARIANTS = (
    "plain",
    "peephole",
    "coupled",
    "layer_norm",
    "zoneout",
    "projection",
    "refine",
    "open_learn",
    "open_forget",
    "open_use",
)


def gates(variant: str, units: int, formulation: str = "standard") -> dict[str, Any]:
    """Return the gates of a variant as keyword arguments of `keras_gates.GateLSTM`.

    Args:
        variant: one of `VARIANTS`; "plain" returns no arguments.
        units: of the layer.
        formulation: of the layer.

    Raises:
        UserError: there is no such variant.

    Example:
        GateLSTM(32, **gates("peephole", 32))
    """
    others: dict[str, Callable[[], dict[str, Any]]] = {
        "plain": dict,
        "coupled": lambda: {"forget": kg.CoupledForgetGate(units)},
        "zoneout": lambda: {
            "remember": kg.ZoneoutRememberGate(units),
            "use": kg.ZoneoutUseGate(units, rate=0.05, formulation=formulation),
        },
        "projection": lambda: {
            "use": kg.ProjectionUseGate(units, projection=max(1, units // 2), formulation=formulation)
        },
        "refine": lambda: {"forget": kg.RefineForgetGate(units)},
        "open_learn": lambda: {"learn": kg.OpenLearnGate(units)},
        "open_forget": lambda: {"forget": kg.OpenForgetGate(units)},
        "open_use": lambda: {"use": kg.OpenUseGate(units, formulation=formulation)},
    }
    if variant in others:
        return others[variant]()
    kinds: dict[str, tuple[Any, Any, Any]] = {
        "peephole": (kg.PeepholeLearnGate, kg.PeepholeForgetGate, kg.PeepholeUseGate),
        "layer_norm": (kg.LayerNormLearnGate, kg.LayerNormForgetGate, kg.LayerNormUseGate),
    }
    if variant not in kinds:
        raise UserError(f"variant must be one of {', '.join(VARIANTS)}, not {variant!r}")
    learn, forget, use = kinds[variant]
    return {"learn": learn(units), "forget": forget(units), "use": use(units, formulation=formulation)}
