"""How far back predictions depend on the input: the share of the influence by distance from the last event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_gates._arguments import typed
from keras_gates._errors import InvalidArgument
from keras_gates.inspection.attribution import influence


@dataclass(frozen=True, repr=False)
class Horizon:
    """How far back predictions depend on the input.

    Attributes:
        share: `(time,)`, the share of the influence by distance; index 0 is the last event.
        within: The share of the influence that lies within `events`.
        events: The number of last events that hold `within` of the influence.
    """

    share: np.ndarray
    within: float
    events: int

    def __repr__(self) -> str:
        return f"<Horizon: {self.within:.0%} of the influence lies within the last {self.events} of {len(self.share)} events>"

    def _repr_html_(self) -> str:
        width, height, largest = 480, 60, float(self.share.max(initial=0.0)) or 1.0
        step = width / max(len(self.share), 1)
        bars = "".join(
            f'<rect x="{width - (k + 1) * step:.1f}" y="{height * (1 - share / largest):.1f}" width="{max(step - 0.5, 0.5):.1f}" '
            f'height="{height * share / largest:.1f}" fill="{"#0072b2" if k < self.events else "#999"}">'
            f"<title>{k} events before the last: {share:.1%}</title></rect>"
            for k, share in enumerate(self.share.tolist())
        )
        text = (
            f"{self.within:.0%} of the influence (blue) lies within the last {self.events} of {len(self.share)} events."
        )
        return f'<p>{text}</p><svg width="{width}" height="{height}" role="img" aria-label="{text}">{bars}</svg>'


@typed
def memory_horizon(
    model: keras.layers.Layer,
    x: Any,
    *,
    within: float = 0.9,
    target: int | None = None,
    method: str = "integrated",
    background: Any = None,
) -> Horizon:
    """Measure how far back a model remembers: the share of the influence by distance, and one number.

        share of k = mean over examples of |influence of E_{T-k}| / sum over all events of |influence of E|

    Args:
        model: A built Keras model with recurrent layers of any kind that read forward.
        x: Examples, `(batch, ...)`; skipped events at the end do not count.
        within: The share of the influence, 0 to 1, that lies within the returned number of events.
        target: As for `influence`.
        method: As for `influence`.
        background: As for `influence`.

    Returns:
        A `Horizon`.

    Raises:
        ValueError: As for `influence`; or `within` is not between 0 and 1.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.SimpleRNN(4), keras.layers.Dense(1)])
    >>> 1 <= keras_gates.memory_horizon(model, numpy.random.rand(4, 9, 3).astype("float32")).events <= 9
    True
    """
    if not 0 < within <= 1:
        raise InvalidArgument(f"memory_horizon: within must be a share above 0 and up to 1, got {within}.")
    measured = influence(model, x, target=target, method=method, background=background, memory=False)
    mask: Any = measured.mask
    strength = np.where(mask, np.abs(measured.strength.astype("float64")), 0.0)
    time = strength.shape[1]
    ends = np.where(mask.any(1), time - np.argmax(mask[:, ::-1], axis=1), 0)
    back = np.zeros_like(strength)
    for row, end in enumerate(ends):
        back[row, :end] = strength[row, :end][::-1]
    totals = back.sum(axis=1, keepdims=True)
    share = (back / np.where(totals > 0, totals, 1.0)).mean(axis=0)
    total = share.sum()
    share = share / total if total > 0 else share
    events = int(np.searchsorted(np.cumsum(share), within - 1e-9) + 1)  # rounding must not add an event
    return Horizon(share, within, min(events, time))
