"""A trace in a few numbers a gate, and in words: which gates are open on average, and what looks wrong."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_gates.inspection.plots.style import WORDS
from keras_gates.inspection.trace_data import LayerTrace
from keras_gates.inspection.tracing import trace

GATES = ("ignore", "forget", "use")
SATURATED, MOST_SATURATED, LARGE_MEMORY, DEAD, MOST_DEAD, VANISHED = 0.02, 0.9, 50.0, 1e-3, 0.25, 1e-6


def gate_statistics(layer: LayerTrace) -> dict[str, float]:
    """Numbers of one layer: `"forget/mean"`, `"forget/saturated"` (share within 0.02 of 0 or 1), likewise `ignore` and `use`;
    `"ltm/largest"` and `"ltm/mean size"`; `"stm/dead"`, the share of units whose STM hardly moves.
    """
    found = {}
    for name in GATES:
        if name in layer:
            factor = layer[name][layer.mask]
            found[f"{name}/mean"] = float(factor.mean())
            found[f"{name}/saturated"] = float(((factor < SATURATED) | (factor > 1 - SATURATED)).mean())
    if "ltm" in layer:
        found["ltm/largest"] = float(np.abs(layer.ltm).max())
        found["ltm/mean size"] = float(np.abs(layer.ltm).mean())
    found["stm/dead"] = float((layer.stm[layer.mask].std(axis=0) < DEAD).mean())
    return found


def complaints(name: str, found: dict[str, float], reach: float | None = None) -> list[str]:
    """What looks wrong with a layer, in words, with what to try.

    Args:
        name: the layer's name. found: what `gate_statistics` gave.
        reach: how much the prediction depends on the first event beside the last, or None.
    """
    said = []
    for gate in GATES:
        share, mean = found.get(f"{gate}/saturated", 0.0), found.get(f"{gate}/mean", 0.5)
        if share > MOST_SATURATED and not (gate == "forget" and mean > 0.5):
            where = "open" if mean > 0.5 else "closed"
            said.append(
                f"{name}: {share:.0%} of the {WORDS[gate]}s are stuck, mostly {where}; little gradient comes through them. Try a "
                "smaller learning rate, clipnorm=1.0, events of mean 0 and variance 1, or the layer-normalised gates."
            )
    if not np.isfinite(found.get("ltm/largest", 0.0)) or found.get("ltm/largest", 0.0) > LARGE_MEMORY:
        said.append(
            f"{name}: the long-term memory reaches {found['ltm/largest']:.3g}, where tanh tells nothing apart. Try "
            "clipnorm=1.0, a smaller learning rate, CoupledForgetGate or ZoneoutRememberGate."
        )
    if found["stm/dead"] > MOST_DEAD:
        said.append(
            f"{name}: {found['stm/dead']:.0%} of the units hardly move on any event. Try fewer units, events of mean 0 and "
            "variance 1, or a smaller learning rate."
        )
    if reach is not None and reach < VANISHED:
        said.append(
            f"{name}: the prediction depends on the first event {reach:.0e} times as much as on the last: the gradient vanishes. "
            "Try a larger forget bias (start_with_span), shorter sequences first, or formulation='standard'."
        )
    return said


def gate_summary(model: keras.layers.Layer, x: Any) -> str:
    """Which gates are open on average, as text: a line for each layer.

    Args:
        model: a built Keras model. x: some of what it takes.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4, name="memory")])
    >>> table = keras_gates.gate_summary(model, numpy.ones((2, 5, 3), "float32"))
    >>> print(table.splitlines()[0])
    layer   units  ignore  forget  use   largest LTM  dead units
    """
    rows = [("layer", "units", "ignore", "forget", "use", "largest LTM", "dead units")]
    for name, layer in trace(model, x, keep=[*GATES, "ltm"]).items():
        found = gate_statistics(layer)
        shares = [f"{found[f'{gate}/mean']:.2f}" if f"{gate}/mean" in found else "–" for gate in GATES]
        largest = f"{found['ltm/largest']:.2f}" if "ltm/largest" in found else "–"
        rows.append((name, str(layer.units), *shares, largest, f"{found['stm/dead']:.0%}"))
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, "ignore 0: ignores all; forget 0: forgets all; use 0: uses nothing; 1: the gate is open"])
