"""A trace in a few numbers per gate, and in words: which gates are open on average, and what looks wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_gates._arguments import typed
from keras_gates.inspection.trace_data import WORDS, LayerTrace
from keras_gates.inspection.tracing import trace

GATES = ("ignore", "forget", "use")
SATURATED = 0.02  # a factor this close to 0 or 1 passes almost no gradient
MOST_SATURATED = 0.9  # the share of saturated factors that is complained about
LARGE_MEMORY = 50.0
DEAD = 1e-3  # a unit whose STM has a smaller standard deviation hardly moves
MOST_DEAD = 0.25
VANISHED = 1e-6


@dataclass(frozen=True)
class Complaint:
    """Something about a layer's gates that looks wrong.

    Attributes:
        kind: "stuck ignore", "stuck forget", "stuck use", "large memory", "dead units" or "vanishing gradient".
        layer: Name of the layer.
        text: What was measured, and what to try.
    """

    kind: str
    layer: str
    text: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.text}"


def gate_statistics(layer: LayerTrace) -> dict[str, float]:
    """Compute the statistics of one layer.

    Args:
        layer: A trace of the layer with `ignore`, `forget`, `use` and `ltm`, as far as it has them.

    Returns:
        By name: `"forget/mean"` and `"forget/saturated"` (the share within 0.02 of 0 or 1), likewise `ignore` and `use`;
        `"ltm/largest"` and `"ltm/mean size"`; `"stm/dead"`, the share of units whose STM hardly moves.
    """
    stats = {}
    for name in GATES:
        if name in layer:
            factor = layer[name][layer.mask]
            stats[f"{name}/mean"] = float(factor.mean())
            stats[f"{name}/saturated"] = float(((factor < SATURATED) | (factor > 1 - SATURATED)).mean())
    if "ltm" in layer:
        stats["ltm/largest"] = float(np.abs(layer.ltm).max())
        stats["ltm/mean size"] = float(np.abs(layer.ltm).mean())
    stats["stm/dead"] = float((layer.stm[layer.mask].std(axis=0) < DEAD).mean())
    return stats


def complaints(layer: str, stats: dict[str, float], reach: float | None = None) -> list[Complaint]:
    """List what looks wrong with a layer, with what to try.

    Args:
        layer: Name of the layer.
        stats: The statistics that `gate_statistics` returned.
        reach: The influence of the first event relative to that of the last, or None where it is not known.

    Returns:
        Complaints, at most one of each kind.
    """
    result = []
    for gate in GATES:
        share, mean = stats.get(f"{gate}/saturated", 0.0), stats.get(f"{gate}/mean", 0.5)
        if share > MOST_SATURATED and not (gate == "forget" and mean > 0.5):  # an open forget gate is how memory lasts
            where = "open" if mean > 0.5 else "closed"
            text = (
                f"{share:.0%} of the {WORDS[gate]}s are stuck, mostly {where}; little gradient passes through them. Try a "
                "smaller learning rate, clipnorm=1.0, events of mean 0 and variance 1, or the layer-normalised gates "
                "(keras_gates.LayerNormForgetGate, …)."
            )
            result.append(Complaint(f"stuck {gate}", layer, text))
    largest = stats.get("ltm/largest", 0.0)
    if not np.isfinite(largest) or largest > LARGE_MEMORY:
        text = (
            f"the long-term memory (cell state) reaches {largest:.3g}, where tanh saturates. Try clipnorm=1.0, a smaller "
            "learning rate, keras_gates.CoupledForgetGate or keras_gates.ZoneoutRememberGate."
        )
        result.append(Complaint("large memory", layer, text))
    if stats["stm/dead"] > MOST_DEAD:
        text = (
            f"{stats['stm/dead']:.0%} of the units hardly move on any event. Try fewer units, events of mean 0 and variance 1, "
            "or a smaller learning rate."
        )
        result.append(Complaint("dead units", layer, text))
    if reach is not None and reach < VANISHED:
        text = (
            f"the prediction depends on the first event {reach:.0e} times as much as on the last: the gradient vanishes. Try a "
            "larger forget bias (keras_gates.start_with_span), shorter sequences first, or formulation='standard'."
        )
        result.append(Complaint("vanishing gradient", layer, text))
    return result


@typed
def gate_summary(model: keras.layers.Layer, x: Any) -> str:
    """Summarize as text which gates are open on average: one line per layer.

    Args:
        model: A built Keras model.
        x: Some of its input, `(batch, ...)`.

    Returns:
        A table for `print`, with a last line on how to read it.

    Raises:
        ValueError: The model holds no recurrent layer, or none ran.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4, name="memory")])
    >>> table = keras_gates.gate_summary(model, numpy.ones((2, 5, 3), "float32"))
    >>> print(table.splitlines()[0])
    layer   units  ignore  forget  use   largest LTM  dead units
    """
    rows = [("layer", "units", "ignore", "forget", "use", "largest LTM", "dead units")]
    for name, layer in trace(model, x, keep=[*GATES, "ltm"]).items():
        stats = gate_statistics(layer)
        means = [f"{stats[f'{gate}/mean']:.2f}" if f"{gate}/mean" in stats else "–" for gate in GATES]
        largest = f"{stats['ltm/largest']:.2f}" if "ltm/largest" in stats else "–"
        rows.append((name, str(layer.units), *means, largest, f"{stats['stm/dead']:.0%}"))
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, "ignore 0: ignores all; forget 0: forgets all; use 0: uses nothing; 1: the gate is open"])
