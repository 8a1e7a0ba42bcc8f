"""What the long-term memory still holds of each past event, and how much the prediction depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_gates._arguments import typed_with
from keras_gates._errors import InvalidArgument
from keras_gates.inspection.horizon import Horizon
from keras_gates.inspection.influence_data import Influence
from keras_gates.inspection.plots.style import (
    CURVES,
    chosen_index,
    chosen_layer,
    figure_over_time,
    label_events,
    new_figure,
    title_of,
    without_padding,
)
from keras_gates.inspection.plots.text import plain
from keras_gates.inspection.trace_data import LayerTrace, Trace


@typed_with(own=("trace", "influence"))
def plot_memory(
    trace: Trace | LayerTrace,
    influence: Influence | None = None,
    labels: Any = None,
    *,
    layer: str | None = None,
    example: int = 0,
    at: int = -1,
) -> Any:
    """Draw what of each past event is still in the long-term memory (cell state), over time and after event `at`.

        LTM_t = sum over s of learned_s * f_{s+1} * ... * f_t

    The upper picture has a row for each time step t and a column for each event s: the sum over units of the absolute value
    of what of event s is left at t. The bars are its row `at`; below them, if `influence` is given, how much the prediction
    depends on each event.

    Args:
        trace: What `keras_gates.trace` returned, or one of its layers.
        influence: What `keras_gates.influence` returned for the same input, or None.
        labels: As for `plot_gates`.
        layer: Name of the layer; default: the first.
        example: Index of the sequence, from 0.
        at: Index of the event after which the memory is shown, from 0; negative from the end.

    Returns:
        A matplotlib `Figure`.

    Raises:
        TypeError: `trace` is not a trace, or `influence` no `Influence`.
        KeyError: There is no such layer.
        IndexError: There is no such event or example.
        ValueError: The layer's memory is not kept plus learned, or labels or an influence that do not fit the events.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4)])
    >>> figure = keras_gates.plot_memory(keras_gates.trace(model, numpy.ones((1, 5, 3), "float32")))
    """
    whole = chosen_layer(trace, layer).time
    one, labels = without_padding(chosen_layer(trace, layer), labels, example)
    example, at = chosen_index(example, one.stm.shape[0], "example"), chosen_index(at, one.time, "event")
    if influence is not None and not isinstance(influence, Influence):
        raise TypeError(
            f"plot_memory: influence must be what keras_gates.influence returns, got a {type(influence).__name__}."
        )
    if influence is not None and influence.strength.shape != (one.stm.shape[0], whole):
        raise InvalidArgument(
            f"plot_memory: the influence is of {influence.strength.shape} sequences and events, the trace of "
            f"{(one.stm.shape[0], whole)}; trace the same input."
        )
    moments = np.unique(np.linspace(0, one.time - 1, min(one.time, 200)).round().astype(int))
    held = np.stack([np.abs(one.still_held(t, example)).sum(-1) for t in moments])
    figure, rows = figure_over_time(3 if influence is not None else 2, 1.3, labels, one.time)
    before, after = (-0.5, one.time - 0.5) if len(moments) == one.time else (0, one.time - 1)
    image = rows[0].imshow(held, aspect="auto", cmap="cividis", vmin=0, extent=(-0.5, one.time - 0.5, after, before))
    rows[0].axhline(at, color=CURVES[1], linewidth=1)
    rows[0].set_ylabel("after\nevent", rotation=0, ha="right", va="center")
    rows[0].set_yticks([0, one.time - 1] if one.time > 1 else [0])
    figure.colorbar(image, ax=rows[0], pad=0.01, fraction=0.04, aspect=10)
    at_end = np.abs(one.still_held(at, example)).sum(-1)
    _bars(rows[1], at_end, f"held after\nevent {at}", CURVES[0])
    if influence is not None:
        _bars(rows[2], influence.strength[example][: one.time], "prediction\ndepends on it", CURVES[1])
    for axes in rows[:-1]:
        axes.set_xticks([])
        axes.set_xlim(-0.5, one.time - 0.5)
    label_events(rows[-1], labels, one.time)
    figure.suptitle(title_of(one, example, ["what of each event is still in the long-term memory"]))
    return figure


def _bars(axes: Any, values: np.ndarray, name: str, colour: str) -> None:
    axes.bar(range(len(values)), values, width=0.9 if len(values) < 200 else 1.0, color=colour)
    axes.axhline(0, color="0.5", linewidth=0.6)
    axes.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
    axes.locator_params(axis="y", nbins=3)


@typed_with(own=("horizons",))
def plot_horizon(horizons: Mapping[str, Horizon] | Horizon) -> Any:
    """Draw how much predictions depend on events further and further back, one curve per model.

    Args:
        horizons: What `keras_gates.memory_horizon` returned, or several by the names of their models.

    Returns:
        A matplotlib `Figure`.

    Raises:
        TypeError: Something else.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4)])
    >>> horizon = keras_gates.memory_horizon(model, numpy.random.rand(4, 9, 3).astype("float32"))
    >>> figure = keras_gates.plot_horizon({"GateLSTM": horizon})
    """
    if isinstance(horizons, Horizon):
        horizons = {"model": horizons}
    if not isinstance(horizons, Mapping) or not all(isinstance(one, Horizon) for one in horizons.values()):
        raise TypeError("plot_horizon: expected what keras_gates.memory_horizon returns, or several by name in a dict.")
    figure = new_figure(8, 3.8)
    axes = figure.subplots()
    for k, (name, horizon) in enumerate(horizons.items()):
        colour, style = CURVES[k % len(CURVES)], ("-", "--", "-.", ":")[k % 4]
        known = np.maximum(horizon.share, 1e-8)
        axes.plot(
            known,
            style,
            color=colour,
            label=f"{plain(name)}: {horizon.within:.0%} within the last {horizon.events} events",
        )
        axes.axvline(horizon.events - 1, color=colour, linewidth=0.8, linestyle=":")
    axes.set(yscale="log", xlabel="events back from the last", ylabel="share of the influence")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title("How far back a prediction depends on the input")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
