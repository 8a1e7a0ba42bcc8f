"""A matrix of answers and events: which event moved which answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_gates._arguments import typed
from keras_gates.inspection.attribution import STEPS, attributed, neutral_events
from keras_gates.inspection.event_passes import EventPasses
from keras_gates.layers.unchanged import leaves_model_unchanged

MOST_ANSWERS = 64


@dataclass(frozen=True, repr=False)
class InfluenceMatrix:
    """How much each answer depends on each event.

    Attributes:
        layer: Name of the layer whose events these are.
        values: `(batch, answers, time)`, the integrated gradients of each answer, summed over the features of an event.
        answers: What a row is: the index of the number in the prediction, or of the event after which it is made.
        by_event: Whether rows are events.
        of: "log-odds" or "prediction".
    """

    layer: str
    values: np.ndarray
    answers: tuple[int, ...]
    by_event: bool
    of: str

    def __repr__(self) -> str:
        batch, answers, time = self.values.shape
        rows = "events at which is predicted" if self.by_event else "numbers of the prediction"
        return f"<InfluenceMatrix ({self.of}) of {self.layer}: {batch} sequences, {answers} {rows} × {time} events>"

    def _repr_html_(self) -> str:
        """Return the first sequence's matrix as a picture: blue raises the answer, orange lowers it."""
        matrix = self.values[0] if len(self.values) else np.zeros((0, 0))
        largest, size = float(np.abs(matrix).max(initial=0.0)) or 1.0, max(4, min(16, 640 // max(matrix.shape[1], 1)))
        cells = "".join(
            f'<rect x="{column * size}" y="{row * size}" width="{size}" height="{size}" '
            f'fill="{"#0072b2" if value >= 0 else "#d55e00"}" fill-opacity="{abs(value) / largest:.2f}">'
            f"<title>answer {self.answers[row]}, event {column}: {value:.3g}</title></rect>"
            for row, values in enumerate(matrix.tolist())
            for column, value in enumerate(values)
        )
        text = repr(self)[1:-1]
        return (
            f'<p>{text}; example 0, an answer per row</p><svg width="{matrix.shape[1] * size}" '
            f'height="{matrix.shape[0] * size}" role="img" aria-label="{text}">{cells}</svg>'
        )


@typed
@leaves_model_unchanged
def influence_matrix(
    model: keras.layers.Layer,
    x: Any,
    *,
    target: int | None = None,
    of: str = "log-odds",
    background: Any = None,
    layer: str | None = None,
    steps: int = STEPS,
) -> InfluenceMatrix:
    """Compute how much each answer depends on each event, by integrated gradients.

    The answers are the numbers of the prediction (classes), or, for a model that predicts at every event, the predictions
    after each event.

    Args:
        model: A built Keras model with recurrent layers of any kind.
        x: The model's input, `(batch, ...)`.
        target: For a model that predicts at every event, index of the explained number; default: each example's largest at that
            event. For any other model, the only number that is explained; default: all.
        of: As for `influence`.
        background: As for `influence`.
        layer: As for `influence`.
        steps: As for `influence`.

    Returns:
        An `InfluenceMatrix`. If there are more than 64 answers, those that are largest in the mean, or evenly spaced events.

    Raises:
        ValueError: As for `influence`.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4), keras.layers.Dense(2, "softmax")])
    >>> keras_gates.influence_matrix(model, numpy.random.rand(2, 5, 3).astype("float32")).values.shape
    (2, 2, 5)
    """
    passes = EventPasses(model, x, layer, "influence_matrix")
    neutral = neutral_events(passes, background)
    if passes.predicts_every_event:
        count = passes.events.shape[1]
        answers = np.unique(np.linspace(0, count - 1, min(count, MOST_ANSWERS)).round().astype(int)).tolist()
        explained = [passes.explained(target, of, at) for at in answers]
    else:
        means = np.abs(passes.numbers()).mean(axis=0)
        answers = sorted(np.argsort(-means, kind="stable")[:MOST_ANSWERS].tolist()) if target is None else [target]
        explained = [passes.explained(answer, of) for answer in answers]
    rows = [attributed(passes, one, neutral, steps, memory=False).strength for one in explained]
    return InfluenceMatrix(
        passes.layer, np.stack(rows, axis=1), tuple(answers), passes.predicts_every_event, explained[0].of
    )
