"""Heat maps of what the gates did over time, and single units over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_gates.inspection.plots.style import (
    CURVES,
    chosen_index,
    chosen_layer,
    colours,
    figure_over_time,
    kind_of,
    label_events,
    new_figure,
    title_of,
    without_padding,
)
from keras_gates.inspection.trace_data import WORDS, LayerTrace, Trace

LINE = 100  # characters
SHOWN = ("ignore", "learned", "forget", "ltm", "use", "stm")


def plot_gates(
    trace: Trace | LayerTrace,
    labels: Any = None,
    *,
    layer: str | None = None,
    example: int = 0,
    names: Sequence[str] = SHOWN,
) -> Any:
    """Draw heat maps of what the gates did: units from top to bottom, events from left to right.

    Args:
        trace: What `keras_gates.trace` returned, or one of its layers.
        labels: What the events were: words or characters (a list of strings), pictures `(time, height, width[, 3])` or
            samples `(samples,)`; default: numbers from 0.
        layer: Name of the layer; default: the first.
        example: Index of the sequence, from 0.
        names: Which arrays (see `keras_gates.LayerTrace`); those that the layer does not have are left out.

    Returns:
        A matplotlib `Figure`.

    Raises:
        TypeError: `trace` is not a trace.
        KeyError: There is no such layer.
        IndexError: There is no such example.
        ValueError: Labels that do not fit the events, or none of the names.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4)])
    >>> figure = keras_gates.plot_gates(keras_gates.trace(model, numpy.ones((1, 5, 3), "float32")), labels=list("hello"))
    >>> figure.savefig("gates.png")
    """
    one, labels = without_padding(chosen_layer(trace, layer), labels, example)
    example = chosen_index(example, one.stm.shape[0], "example")
    shown = [name for name in names if name in one]
    if not shown:
        raise ValueError(f"{one.name} has none of {', '.join(names)}; it has: {', '.join(one.over_time)}.")
    height = float(np.clip(0.09 * one.units, 0.55, 1.6))
    figure, rows = figure_over_time(len(shown), height, labels, one.time)
    for axes, name in zip(rows, shown):
        array = one[name][example].T
        image = axes.imshow(
            array, aspect="auto", interpolation="nearest" if one.time < 400 else "antialiased", **colours(name, array)
        )
        axes.set_facecolor("0.85")
        axes.set_ylabel(WORDS.get(name, name).replace(" ", "\n"), rotation=0, ha="right", va="center")
        axes.set_xticks([])
        _number_units(axes, one.units)
        figure.colorbar(image, ax=axes, pad=0.01, fraction=0.04, aspect=10)
    label_events(rows[-1], labels, one.time)
    skipped = [] if one.mask[example].all() else ["grey: skipped"]
    figure.suptitle(title_of(one, example, [f"{one.units} unit{'s' * (one.units > 1)} from top to bottom", *skipped]))
    return figure


def _number_units(axes: Any, units: int) -> None:
    ticks = [0] if units == 1 else [0, units - 1]
    axes.set_yticks(ticks, [str(unit) for unit in ticks], fontsize=7)


def plot_units(
    trace: Trace | LayerTrace,
    units: Sequence[int] | int = (0,),
    labels: Any = None,
    *,
    layer: str | None = None,
    example: int = 0,
    what: str = "ltm",
) -> Any:
    """Draw single units over time: over words or characters, the text coloured by the unit; else the unit's curves.

    Args:
        trace: What `keras_gates.trace` returned, or one of its layers.
        units: Indices of the units, from 0.
        labels: As for `plot_gates`. Strings give the coloured text ("the cell that tracks quotes").
        layer: Name of the layer; default: the first.
        example: Index of the sequence, from 0.
        what: The array by which the text is coloured.

    Returns:
        A matplotlib `Figure`.

    Raises:
        TypeError: `trace` is not a trace.
        KeyError: There is no such layer or array.
        IndexError: There is no such example or unit.
        ValueError: Labels that do not fit the events.

    Source: Karpathy, Johnson and Fei-Fei, Visualizing and Understanding Recurrent Networks, 2015 (the coloured text).

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4)])
    >>> figure = keras_gates.plot_units(keras_gates.trace(model, numpy.ones((1, 5, 3), "float32")), units=[0, 2])
    """
    one, labels = without_padding(chosen_layer(trace, layer), labels, example)
    example = chosen_index(example, one.stm.shape[0], "example")
    units = [chosen_index(unit, one.units, "unit") for unit in np.atleast_1d(units).tolist()]
    if kind_of(labels, one.time) == "words":
        return _coloured_text(one, units, labels, example, what)
    figure, rows = figure_over_time(len(units), 1.8, labels, one.time, width=10)
    names = [name for name in ("ltm", "stm", "forget", "ignore", "use") if name in one]
    for axes, unit in zip(rows, units):
        for k, name in enumerate(names):
            style = "-" if name in ("ltm", "stm") else "--"
            marker = "." if one.time < 40 else ""
            axes.plot(
                one[name][example, :, unit], style, marker=marker, color=CURVES[k], label=WORDS[name], linewidth=1.4
            )
        axes.set_ylabel(f"unit {unit}")
        axes.grid(axis="y", alpha=0.3)
        axes.set_xlim(-0.5, one.time - 0.5)
        axes.set_xticks([])
    rows[0].legend(ncols=5, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    label_events(rows[-1], labels, one.time)
    figure.suptitle(title_of(one, example))
    return figure


def _coloured_text(one: LayerTrace, units: Sequence[int], labels: Sequence[str], example: int, what: str) -> Any:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    places, lines = _lay_out(labels)
    longest = max(30.0, max(x + width for x, _, width in places))
    figure = new_figure(1.5 + 0.085 * longest, 0.9 + len(units) * (max(0.6, 0.22 * lines) + 0.4))
    for axes, unit in zip(figure.subplots(len(units), 1, squeeze=False)[:, 0], units):
        values = one[what][example, :, unit]
        look = colours(what, values)
        paint, scale = colormaps[look["cmap"]], Normalize(look["vmin"], look["vmax"])
        for (x, line, width), label, value in zip(places, labels, values):
            colour = paint(scale(value)) if np.isfinite(value) else (0.85, 0.85, 0.85, 1.0)
            axes.add_patch(Rectangle((x, -line - 0.5), width, 1, facecolor=colour, linewidth=0))
            dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 0.5
            text = label.replace("\n", "↵").replace("$", r"\$")
            axes.text(
                x + width / 2,
                -line,
                text,
                ha="center",
                va="center",
                fontsize=8,
                family="monospace",
                color="w" if dark else "k",
            )
        axes.set(xlim=(0, longest), ylim=(-lines + 0.4, 0.6), xticks=[], yticks=[])
        axes.set_title(
            f"unit {unit}: {WORDS.get(what, what)} from {np.nanmin(values):.2g} to {np.nanmax(values):.2g}",
            fontsize=9,
            loc="left",
        )
        axes.set_frame_on(False)
        figure.colorbar(ScalarMappable(scale, paint), ax=axes, pad=0.01, fraction=0.03, aspect=12)
    figure.suptitle(title_of(one, example))
    return figure


def _lay_out(labels: Sequence[str]) -> tuple[list[tuple[float, int, int]], int]:
    """Return where each word stands, `(x, line, width)` in characters, lines of `LINE` at most; and the number of lines."""
    between = 0 if max(map(len, labels)) == 1 else 1
    places, x, line = [], 0.0, 0
    for label in labels:
        width = max(1, len(label)) + between
        if x and x + width > LINE:
            x, line = 0.0, line + 1
        places.append((x, line, width))
        x += width
        if label == "\n":
            x, line = 0.0, line + 1
    return places, line + 1
