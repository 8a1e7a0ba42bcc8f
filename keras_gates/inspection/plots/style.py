"""What all figures share: colours that the colour-blind can tell apart, events along an axis, titles."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_gates._errors import InvalidArgument
from keras_gates.inspection.plots.text import plain
from keras_gates.inspection.trace_data import FACTORS, LayerTrace, Trace

# Okabe and Ito's colours.
CURVES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c7a00", "#7f7f7f")
SHARE, SIGNED = "cividis", "PuOr_r"
MOST_TICKS = 64


def chosen_layer(trace: Trace | LayerTrace, layer: str | None) -> LayerTrace:
    """Return the layer by name, or the first.

    Args:
        trace: What `keras_gates.trace` returned, or one of its layers.
        layer: Name of the layer, or None.

    Raises:
        TypeError: `trace` is something else, for example the model.
        KeyError: There is no such layer.
    """
    if isinstance(trace, LayerTrace):
        return trace
    if not isinstance(trace, Trace):
        raise TypeError(
            f"Expected what keras_gates.trace(model, x) returns, or one of its layers, got a {type(trace).__name__}. Trace the "
            "model first and pass the trace."
        )
    return trace.first if layer is None else trace[layer]


def without_padding(layer: LayerTrace, labels: Any, example: int) -> tuple[LayerTrace, Any]:
    """Return a trace and its labels up to the last event of an example that was not skipped.

    Args:
        layer: The trace.
        labels: What the events were, as for `plot_gates`. Samples stay whole.
        example: Index of the example, from 0 or negative from the end.

    Raises:
        IndexError: There is no such example.
    """
    short = layer.without_padding(chosen_index(example, layer.stm.shape[0], "example"))
    if labels is not None and short.time < layer.time and len(labels) == layer.time:
        labels = labels[: short.time]
    return short, labels


def chosen_index(value: int, size: int, what: str) -> int:
    """Return `value`, which may count from the end, as an index from 0.

    Raises:
        IndexError: It is outside of `size`.
    """
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"The {what} must be an integer from 0, got {value!r}.") from None
    if not -size <= value < size:
        raise IndexError(f"There is no {what} {value}: there are {size}, numbered from 0.")
    return value % size


def colours(name: str, array: np.ndarray) -> dict[str, Any]:
    """Return how an array is coloured: factors from 0 to 1, everything else symmetric about 0, ignoring a few outliers."""
    sizes = np.abs(array[np.isfinite(array)])
    largest = (float(np.quantile(sizes, 0.995)) or float(sizes.max())) if sizes.size else 0.0
    largest = largest or 1.0
    if name in FACTORS and np.nanmin(array, initial=0.0) >= 0 and sizes.max(initial=0.0) <= 1:
        return {"cmap": SHARE, "vmin": 0.0, "vmax": 1.0}
    return {"cmap": SIGNED, "vmin": -largest, "vmax": largest}


def kind_of(labels: Any, time: int) -> str:
    """Return what stands for the events: "none", "words", "pictures", "series" or "wave".

    Raises:
        ValueError: The labels fit none of them.
    """
    if labels is None:
        return "none"
    if not hasattr(labels, "__len__"):
        raise InvalidArgument(f"labels must be strings, pictures or samples, one per event, got {labels!r}.")
    if all(isinstance(label, str) for label in labels):
        if len(labels) == time:
            return "words"
        raise InvalidArgument(f"labels must be one string per event, {time}, got {len(labels)}.")
    shape = np.asarray(labels).shape
    if len(shape) in (3, 4) and shape[0] == time:
        return "pictures"
    if len(shape) == 2 and shape[0] == time:
        return "series"
    if len(shape) == 1:
        return "wave"
    raise InvalidArgument(
        f"labels must be {time} strings, {time} pictures (time, height, width[, 3]), series ({time}, channels) or samples "
        f"(samples,), got the shape {shape}."
    )


def width_for(time: int) -> float:
    """Return the width of a figure over so many events, in inches."""
    return float(np.clip(3.5 + 0.16 * time, 7, 15))


def label_events(axes: Any, labels: Any, time: int) -> None:
    """Set ticks along the time axis: words where they fit, numbers from 0 elsewhere."""
    axes.set_xlim(-0.5, time - 0.5)
    axes.set_xlabel("event")
    if kind_of(labels, time) == "words" and time <= MOST_TICKS:
        short = [label if len(label) <= 14 else label[:13] + "…" for label in labels]
        shown = [plain(label.replace("\n", "↵").replace(" ", "␣")) for label in short]
        characters = max(map(len, shown)) == 1
        axes.set_xticks(
            range(time), shown, rotation=0 if characters else 90, fontsize=8, family="monospace" if characters else None
        )
        return
    from matplotlib.ticker import MaxNLocator

    even = MaxNLocator(12, integer=True, steps=[1, 2, 5, 10]).tick_values(0, time - 1)
    ticks = [int(tick) for tick in even if 0 <= tick < time]
    axes.set_xticks(ticks, map(str, ticks))


def draw_events(axes: Any, labels: Any, time: int) -> None:
    """Draw pictures, a waveform or the curves of sensors above the time axis of the figure's rows."""
    axes.set_xlim(-0.5, time - 0.5)
    axes.set_xticks([])
    if kind_of(labels, time) == "wave":
        samples = np.asarray(labels, "float64")
        axes.plot(np.linspace(-0.5, time - 0.5, len(samples)), samples, color=CURVES[0], linewidth=0.6)
        axes.set_ylabel("sound", rotation=0, ha="right", va="center")
        axes.set_yticks([])
        return
    if kind_of(labels, time) == "series":
        series = np.asarray(labels, "float64")
        for k in range(series.shape[1]):
            axes.plot(range(time), series[:, k], color=CURVES[k % len(CURVES)], linewidth=1)
        axes.set_ylabel("event", rotation=0, ha="right", va="center")
        axes.locator_params(axis="y", nbins=3)
        return
    pictures = np.asarray(labels)
    strip = np.concatenate(list(pictures if pictures.max() <= 1 else pictures / 255), axis=1)
    extent = (-0.5, time - 0.5, 0, 1)
    axes.imshow(np.clip(strip, 0, 1), extent=extent, aspect="auto", cmap="gray", vmin=0, vmax=1)
    axes.set(xlim=(-0.5, time - 0.5), ylim=(0, 1), yticks=[])
    axes.set_frame_on(False)


def new_figure(width: float, height: float) -> Any:
    """Return a matplotlib `Figure` of this size in inches, which a notebook shows without `%matplotlib inline`."""
    from keras_gates.inspection.plots.picture import Picture  # imports matplotlib

    return Picture((width, height), layout="constrained")


def figure_over_time(
    rows: int, row_height: float, labels: Any, time: int, width: float | None = None
) -> tuple[Any, list[Any]]:
    """Make a figure of rows over one time axis, with the events drawn above if they are pictures, series or sound.

    Args:
        rows: The number of rows.
        row_height: Height of a row in inches.
        labels: What the events were, as for `plot_gates`.
        time: The number of events.
        width: Width of the figure in inches; default: by the number of events.

    Returns:
        The figure, and the axes of the rows.
    """
    width = width or width_for(time)
    above = kind_of(labels, time) in ("pictures", "series", "wave")
    event_height = float(np.clip(width / time, 0.35, 1.4)) if kind_of(labels, time) == "pictures" else 0.8
    heights = [event_height] * above + [row_height] * rows
    figure = new_figure(width, sum(heights) + 1.0)
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    if above:
        draw_events(axes[0], labels, time)
    return figure, list(axes[above:])


def title_of(layer: LayerTrace, example: int, rest: Sequence[str] = ()) -> str:
    """Return a title: which layer and example a figure shows, and `rest`."""
    direction = " (reads backward)" if layer.direction == "backward" else ""
    several = f", example {example}" if layer.stm.shape[0] > 1 else ""
    return ", ".join([f"{plain(layer.name)}{direction}{several}", *rest])
