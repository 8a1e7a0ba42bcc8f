"""Gate variants from the literature, by name."""

from __future__ import annotations

from typing import Any

import numpy as np

import keras_gates as kg
from keras_gates.models.lazy import keras
from keras_gates.models.registry import UserError

VARIANTS = (
    "plain",
    "peephole",
    "coupled",
    "layer_norm",
    "zoneout",
    "projection",
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
    others = {
        "plain": dict,
        "coupled": lambda: {"forget": kg.CoupledForgetGate(units)},
        "zoneout": lambda: {
            "remember": kg.ZoneoutRememberGate(units),
            "use": kg.ZoneoutUseGate(units, rate=0.05, formulation=formulation),
        },
        "projection": lambda: {
            "use": kg.ProjectionUseGate(units, projection=max(1, units // 2), formulation=formulation)
        },
        "open_learn": lambda: {"learn": kg.OpenLearnGate(units)},
        "open_forget": lambda: {"forget": kg.OpenForgetGate(units)},
        "open_use": lambda: {"use": kg.OpenUseGate(units, formulation=formulation)},
    }
    if variant in others:
        return others[variant]()
    kinds = {
        "peephole": (kg.PeepholeLearnGate, kg.PeepholeForgetGate, kg.PeepholeUseGate),
        "layer_norm": (kg.LayerNormLearnGate, kg.LayerNormForgetGate, kg.LayerNormUseGate),
    }
    if variant not in kinds:
        raise UserError(f"variant must be one of {', '.join(VARIANTS)}, not {variant!r}")
    learn, forget, use = kinds[variant]
    return {"learn": learn(units), "forget": forget(units), "use": use(units, formulation=formulation)}


def start_with_span(cell: Any, span: int) -> None:
    """Initialise a new cell's biases for memories of 1 … span time steps, a different length in each unit.

        b_f = log(s), s spread evenly over 1 … span        b_i = -b_f

    The forget factor f_t then starts near s / (1 + s), the ignore factor i_t near 1 / (1 + s). Gates without such a bias
    (coupled, always open) are left unchanged.

    Args:
        cell: a built `keras_gates.GateLSTMCell`.
        span: the longest memory, in time steps.

    Source: Tallec and Ollivier, Can Recurrent Neural Networks Warp Time?, 2018 (chrono initialization, which draws s at
        random).
    """
    times = np.log(np.linspace(1, span, cell.units)).astype("float32")
    if getattr(cell.forget, "bias", None) is not None:
        cell.forget.bias.assign(times)
    if len(cell.learn.blocks) == 2:
        cell.learn.bias.assign(keras.ops.concatenate([-times, cell.learn.bias[cell.units :]]))
