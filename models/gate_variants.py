"""What the models of the zoo do with a memory beyond making it: gates from the literature by name, and a start with a
long span.
"""

from __future__ import annotations

from typing import Any

import numpy as np
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
    """The gates of a variant as arguments of `GateLSTM`; none for "plain".

    Example:
        GateLSTM(32, **gates("peephole", 32))
    """
    import keras_gates as kg

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
    """Biases with which a new cell holds what it learned for about 1 … span events, a different time in each unit.

        b_f = log(s), s spread evenly over 1 … span        b_i = -b_f

    So f_t starts near s / (1 + s), and i_t near 1 / (1 + s). A coupled forget gate has no bias and takes its share from
    i_t; gates that stand open have no such bias and stay as they are.

    Source: Tallec and Ollivier, Can Recurrent Neural Networks Warp Time?, 2018 (chrono initialization, which draws s at
        random).
    """
    from keras import ops

    times = np.log(np.linspace(1, span, cell.units)).astype("float32")
    if getattr(cell.forget, "bias", None) is not None:
        cell.forget.bias.assign(times)
    if len(cell.learn.blocks) == 2:
        cell.learn.bias.assign(ops.concatenate([-times, cell.learn.bias[cell.units :]]))
