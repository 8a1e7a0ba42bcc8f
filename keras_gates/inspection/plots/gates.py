"""Heat maps of what the gates did over time, and single units over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_gates._arguments import typed_with
from keras_gates._errors import InvalidArgument
from keras_gates.inspection.plots.order import by_likeness, memory_of, moving_most
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
from keras_gates.inspection.plots.text import plain
from keras_gates.inspection.trace_data import WORDS, LayerTrace, Trace

LINE = 100  # characters
SHOWN = ("ignore", "learned", "forget", "ltm", "use", "stm")


@typed_with(own=("trace",))
def plot_gates(
    trace: Trace | LayerTrace,
    labels: Any = None,
    *,
    layer: str | None = None,
    example: int = 0,
    names: Sequence[str] = SHOWN,
    units: Sequence[int] | None = None,
    top: int | None = None,
    sort: bool | None = None,
) -> Any:
    """Draw heat maps of what the gates did: units from top to bottom, events from left to right.

    Args:
        trace: What `keras_gates.trace` returned, or one of its layers.
        labels: What the events were: words or characters (a list of strings), pictures `(time, height, width[, 3])`, the
            values of sensors `(time, channels)`, drawn as curves, or samples `(samples,)`; default: numbers from 0.
        layer: Name of the layer; default: the first.
        example: Index of the sequence, from 0.
        names: Which arrays (see `keras_gates.LayerTrace`); those that the layer does not have are left out.
        units: Indices of the units to draw, from 0; default: all.
        top: Draw only this many units, those whose memory changes most.
        sort: Whether units that do the same stand next to each other; default: if there are more than 16 and `units` is None.

    Returns:
        A matplotlib `Figure`.

    Raises:
        TypeError: `trace` is not a trace.
        KeyError: There is no such layer.
        IndexError: There is no such example or unit.
        ValueError: Labels that do not fit the events, none of the names, or no units.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4)])
    >>> figure = keras_gates.plot_gates(keras_gates.trace(model, numpy.ones((1, 5, 3), "float32")), labels=list("hello"))
    >>> figure.savefig("gates.png")
    """
    one, labels = without_padding(chosen_layer(trace, layer), labels, example)
    example = chosen_index(example, one.stm.shape[0], "example")
    shown = [name for name in names if name in one]
    if not shown:
        raise InvalidArgument(f"{one.name} has none of {', '.join(names)}; it has: {', '.join(one.over_time)}.")
    rows_of, is_sorted = _chosen_units(one, example, units, top, sort)
    height = float(np.clip(0.09 * len(rows_of), 0.55, 1.6))
    figure, rows = figure_over_time(len(shown), height, labels, one.time)
    for axes, name in zip(rows, shown):
        array = one[name][example].T[rows_of]
        image = axes.imshow(
            array, aspect="auto", interpolation="nearest" if one.time < 400 else "antialiased", **colours(name, array)
        )
        axes.set_facecolor("0.85")
        axes.set_ylabel(WORDS.get(name, name).replace(" ", "\n"), rotation=0, ha="right", va="center")
        axes.set_xticks([])
        _number_units(axes, rows_of)
        figure.colorbar(image, ax=axes, pad=0.01, fraction=0.04, aspect=10)
    label_events(rows[-1], labels, one.time)
    skipped = [] if one.mask[example].all() else ["grey: skipped"]
    of = "" if len(rows_of) == one.units else f" of {one.units}"
    order = ["similar ones together"] if is_sorted else []
    count = f"{len(rows_of)}{of} unit{'s' * (one.units > 1)} from top to bottom"
    figure.suptitle(title_of(one, example, [count, *order, *skipped]))
    return figure


def _chosen_units(
    one: LayerTrace, example: int, units: Sequence[int] | None, top: int | None, sort: bool | None
) -> tuple[list[int], bool]:
    """Return the units to draw, from top to bottom, and whether they are sorted."""
    chosen = list(range(one.units))
    if units is not None:
        chosen = [chosen_index(unit, one.units, "unit") for unit in np.atleast_1d(np.asarray(units)).tolist()]
    if not chosen or (top is not None and top < 1):
        raise InvalidArgument(f"plot_gates: there must be a unit to draw, got units={units!r}, top={top!r}.")
    if top is not None and top < len(chosen):
        chosen = sorted(moving_most(one, example, chosen)[:top])
    if sort is None:
        sort = units is None and len(chosen) > 16
    return (by_likeness(memory_of(one, example), chosen) if sort else chosen), sort


def _number_units(axes: Any, units: Sequence[int]) -> None:
    step = -(-len(units) // 6) if len(units) > 6 else 1
    ticks = list(range(0, len(units), step))
    axes.set_yticks(ticks, [str(units[tick]) for tick in ticks], fontsize=6)


@typed_with(own=("trace", "units"))
def plot_units(
    trace: Trace | LayerTrace,
    units: Sequence[int] | int = (0,),
    labels: Any = None,
    *,
    layer: str | None = None,
    example: int = 0,
    what: str = "ltm",
    top: int | None = None,
) -> Any:
    """Draw single units over time: over words or characters, the text coloured by the unit; else the unit's curves.

    Curves of a unit: its memories above (LTM is not bounded), its factors, from 0 to 1, below.

    Args:
        trace: What `keras_gates.trace` returned, or one of its layers.
        units: Indices of the units, from 0.
        labels: As for `plot_gates`. Strings give the coloured text ("the cell that tracks quotes").
        layer: Name of the layer; default: the first.
        example: Index of the sequence, from 0.
        what: The array by which the text is coloured.
        top: Instead of `units`, this many whose memory changes most.

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
    if top is not None:
        units = moving_most(one, example, range(one.units))[: max(top, 1)]
    if kind_of(labels, one.time) == "words":
        return _coloured_text(one, units, labels, example, what)
    groups = [[n for n in names if n in one] for names in (("ltm", "stm"), ("forget", "ignore", "use"))]
    groups = [group for group in groups if group]
    figure, rows = figure_over_time(len(units) * len(groups), 1.2, labels, one.time, width=10)
    for k, axes in enumerate(rows):
        unit, group = units[k // len(groups)], groups[k % len(groups)]
        is_memory = "stm" in group
        for name in group:
            marker = "." if one.time < 40 else ""
            colour = CURVES[("ltm", "stm", "forget", "ignore", "use").index(name)]
            axes.plot(one[name][example, :, unit], marker=marker, color=colour, label=WORDS[name], linewidth=1.4)
        axes.set_ylabel(f"unit {unit}\n{'memory' if is_memory else 'factors'}", fontsize=9)
        axes.grid(axis="y", alpha=0.3)
        axes.set_xlim(-0.5, one.time - 0.5)
        axes.set_xticks([])
        if not is_memory:
            axes.set_ylim(-0.05, 1.05)
        if k < len(groups):
            axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    label_events(rows[-1], labels, one.time)
    figure.suptitle(title_of(one, example))
    return figure


def _coloured_text(one: LayerTrace, units: Sequence[int], labels: Sequence[str], example: int, what: str) -> Any:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    labels = [
        plain(label).replace(r"\$", "$") if label != "\n" else label for label in labels
    ]  # as wide as it is drawn
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
            text = plain(label.replace("\n", "↵"))
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
