"""The cell as the article draws it, with the numbers of one time step on its arrows."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_gates._arguments import typed_with
from keras_gates._errors import InvalidArgument
from keras_gates.inspection.plots.style import chosen_index, chosen_layer, new_figure, title_of, without_padding
from keras_gates.inspection.plots.text import plain
from keras_gates.inspection.trace_data import LayerTrace, Trace

GATES = {
    "forget": ("Forget gate", (2.6, 5.2), "#a8328a"),
    "remember": ("Remember gate", (5.9, 5.2), "#1f5fb4"),
    "learn": ("Learn gate", (4.3, 1.2), "#0b7a55"),
    "use": ("Use gate", (8.2, 1.2), "#a85f00"),
}
WIDTH, HEIGHT = 1.9, 1.0
CARRIED = ("ltm", "stm", "kept", "learned")  # what arrows carry
THINNEST, WIDEST = 0.5, 9.0  # of an arrow, in points


WIRE = "0.5"


@typed_with(own=("trace",))
def plot_flow(
    trace: Trace | LayerTrace,
    at: int = -1,
    *,
    layer: str | None = None,
    example: int = 0,
    unit: int | None = None,
    event: str | None = None,
) -> Any:
    """Draw the cell with the values of one time step on its arrows: LTM above, STM and the event below, the four gates between.

    Args:
        trace: What `keras_gates.trace` returned, or one of its layers.
        at: Index of the event, from 0; negative from the end.
        layer: Name of the layer; default: the first.
        example: Index of the sequence, from 0.
        unit: Index of the unit whose numbers are shown; default: the mean absolute value over units.
        event: A word for the event.

    Returns:
        A matplotlib `Figure`. The width of an arrow is the size of what it carries, on one scale for all arrows and events of
        the example; the event itself, which is no single number, comes dashed.

    Raises:
        TypeError: `trace` is not a trace.
        KeyError: There is no such layer.
        IndexError: There is no such event, example or unit.
        ValueError: The layer has no long-term memory with named gates.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4)])
    >>> figure = keras_gates.plot_flow(keras_gates.trace(model, numpy.ones((1, 5, 3), "float32")), at=2)
    """
    one, _ = without_padding(chosen_layer(trace, layer), None, example)
    if "ltm" not in one:
        raise InvalidArgument(f"{one.name} has no long-term memory with named gates, so there is no flow to draw.")
    example, at = chosen_index(example, one.stm.shape[0], "example"), chosen_index(at, one.time, "event")
    if unit is not None:
        unit = chosen_index(unit, one.units, "unit")
    from matplotlib import rcParams

    word = "" if event is None else plain(event if len(event) <= 14 else event[:13] + "…")
    number = _Numbers(one, example, at, unit)
    figure = new_figure(10.5, 5.2)
    ink = rcParams["text.color"]
    axes = figure.subplots()
    axes.set(xlim=(-1.0, 11.9), ylim=(0.2, 6.9))
    axes.axis("off")
    _draw_wires(axes, number, one.formulation, ink)
    for name, (text, (x, y), colour) in GATES.items():
        _draw_gate(axes, text, x, y, colour)
        axes.text(x, y + (0.72 if y > 3 else -0.72), number.line(name), ha="center", va="center", fontsize=10)
    for x, y, text in (
        (0, 5.2, number.line("ltm_before")),
        (11.0, 5.2, number.line("ltm")),
        (0, 3.3, number.line("stm_before")),
        (11.0, 1.2, number.line("stm") + "\nprediction"),
        (0, 1.2, f"event {at}" + (f"\n“{word}”" if word else "")),
    ):
        axes.text(x, y, text, ha="center", va="center", fontsize=10)
    whose = "mean size over units" if unit is None else f"unit {unit}"
    skipped = [] if one.mask[example, at] else ["skipped"]
    figure.suptitle(title_of(one, example, [f"event {at} of 0–{one.time - 1}", whose, *skipped]))
    return figure


class _Numbers:
    """The numbers of one time step, and the width of the arrow that carries each."""

    def __init__(self, one: LayerTrace, example: int, at: int, unit: int | None) -> None:
        self.values: dict[str, float] = {}
        carried = [one[name][example] for name in CARRIED]
        sizes = [np.abs(array if unit is None else array[:, unit]) for array in carried]
        means = [size.mean(axis=-1) if unit is None else size for size in sizes]
        self.largest = max(float(np.nanmax(mean, initial=0.0)) for mean in means) or 1.0
        before = at + 1 if one.direction == "backward" else at - 1
        for name, array in one.over_time.items():
            self.values[name] = self._of(array[example, at], unit)
        for name in ("stm", "ltm"):
            row = one[name][example, before] if 0 <= before < one.time else one[f"first_{name}"][example]
            self.values[f"{name}_before"] = self._of(row, unit)

    @staticmethod
    def _of(row: np.ndarray, unit: int | None) -> float:
        return float(np.abs(row).mean()) if unit is None else float(row[unit])

    def text(self, name: str) -> str:
        value = self.values.get(name, np.nan)
        return "–" if np.isnan(value) else f"{value:.2f}" if abs(value) >= 0.005 or not value else f"{value:.0e}"

    def width(self, name: str) -> float:
        share = abs(self.values.get(name, 0.0)) / self.largest
        return max(THINNEST, WIDEST * (min(1.0, share) if np.isfinite(share) else 0.0))

    def line(self, name: str) -> str:
        return {
            "forget": f"$f$ = {self.text('forget')}",
            "remember": "LTM = kept + learned",
            "learn": f"$N$ = {self.text('candidate')}   $i$ = {self.text('ignore')}",
            "use": f"$U$ = {self.text('U')}   $V$ = {self.text('use')}",
            "ltm_before": f"LTM before\n{self.text('ltm_before')}",
            "ltm": f"LTM\n{self.text('ltm')}",
            "stm_before": f"STM before\n{self.text('stm_before')}",
            "stm": f"STM\n{self.text('stm')}",
        }[name]


def _draw_gate(axes: Any, text: str, x: float, y: float, colour: str) -> None:
    from matplotlib import rcParams
    from matplotlib.patches import FancyBboxPatch

    corner = (x - WIDTH / 2, y - HEIGHT / 2)
    box = FancyBboxPatch(
        corner,
        WIDTH,
        HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.2",
        facecolor=rcParams["axes.facecolor"],
        edgecolor=colour,
        linewidth=2.2,
        zorder=3,
    )
    axes.add_patch(box)
    axes.text(x, y, text, ha="center", va="center", fontsize=11, zorder=4)


def _draw_wires(axes: Any, number: _Numbers, formulation: str, ink: str) -> None:
    def wire(
        points: list[tuple[float, float]], name: str, label: str = "", place: tuple[float, float] = (0, 0)
    ) -> None:
        width = number.width(name)
        xs, ys = zip(*points)
        axes.plot(xs[:-1], ys[:-1], color=WIRE, linewidth=width, solid_joinstyle="round", solid_capstyle="butt")
        head = {
            "arrowstyle": f"-|>,head_width={0.25 + width / 18},head_length={0.45 + width / 18}",
            "color": WIRE,
            "linewidth": width,
            "shrinkA": 0,
            "shrinkB": 0,
        }
        axes.annotate("", points[-1], points[-2], arrowprops=head, zorder=2)
        if label:
            axes.text(*place, f"{label}\n{number.text(name)}", ha="center", va="center", fontsize=10, color=ink)

    wire([(0.7, 5.2), (1.65, 5.2)], "ltm_before")
    wire([(3.55, 5.2), (4.95, 5.2)], "kept", "kept", (4.25, 5.75))
    wire([(6.85, 5.2), (10.3, 5.2)], "ltm")
    wire([(0.7, 3.3), (7.6, 3.3), (7.6, 1.7)], "stm_before")
    wire([(2.6, 3.3), (2.6, 4.7)], "stm_before")
    wire([(3.9, 3.3), (3.9, 1.7)], "stm_before")
    axes.plot([0.7, 1.6, 1.6], [1.2, 1.2, 3.3], "--", color=WIRE, linewidth=1.2)
    wire([(5.25, 1.2), (5.9, 1.2), (5.9, 4.7)], "learned", "learned", (6.5, 1.55))
    source = (
        [(4.45, 5.2), (4.45, 4.1), (8.8, 4.1), (8.8, 1.7)] if formulation == "article" else [(8.8, 5.2), (8.8, 1.7)]
    )
    wire(source, "kept" if formulation == "article" else "ltm")
    wire([(9.15, 1.2), (10.3, 1.2)], "stm")
