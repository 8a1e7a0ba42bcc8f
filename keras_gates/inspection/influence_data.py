"""The result of an attribution: arrays by event, feature and LTM; a table for notebooks; an explanation for shap."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_gates._errors import InvalidArgument

SHOWN = 8  # sequences in a notebook


@dataclass(frozen=True, repr=False)
class Influence:
    """How much one number of the prediction depends on each event and on LTM (the cell state).

    Attributes:
        layer: Name of the layer whose events these are.
        events: `(batch, time, features)`, the integrated gradient with respect to E_t, or the gradient.
        ltm: By layer, `(batch, time, units)`, the gradient with respect to LTM_t.
        score: `(batch,)`, the number of the prediction that is explained.
        method: "integrated" or "gradient".
        mask: `(batch, time)`, False where the layer skipped an event; or None.
        of: "log-odds" or "prediction": what is attributed.
        explained: `(batch,)`, the log-odds of `score`, or `score` itself.
        neutral: `(batch,)`, the same for neutral events (the mean over a background); None for a gradient.
        inputs: `(batch, time, features)`, the events E_t themselves.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4, name="memory")])
    >>> influence = keras_gates.influence(model, numpy.ones((2, 5, 3), "float32"))
    >>> influence.strength.shape, influence.ltm["memory"].shape
    ((2, 5), (2, 5, 4))
    """

    layer: str
    events: np.ndarray
    ltm: dict[str, np.ndarray]
    score: np.ndarray
    method: str
    mask: np.ndarray | None = None
    of: str = "prediction"
    explained: np.ndarray | None = None
    neutral: np.ndarray | None = None
    inputs: np.ndarray | None = None

    def __repr__(self) -> str:
        batch, time, features = self.events.shape
        also = f", LTM of {', '.join(self.ltm)}" if self.ltm else ""
        gap = self.gap
        left = "" if gap is None or not gap.size else f"; sums are off by at most {np.abs(gap).max():.1g}"
        return (
            f"<Influence ({self.method}, {self.of}) of {self.layer}: {batch} sequences, {time} events, {features} features"
            f"{also}{left}>"
        )

    @property
    def strength(self) -> np.ndarray:
        """One number per event, `(batch, time)`: the sum of the integrated gradient (signed), or the gradient's length."""
        return np.linalg.norm(self.events, axis=-1) if self.method == "gradient" else self.events.sum(axis=-1)

    @property
    def by_feature(self) -> np.ndarray:
        """One number per feature, `(batch, features)`: the sum of the integrated gradient, or the gradient's length."""
        return np.linalg.norm(self.events, axis=1) if self.method == "gradient" else self.events.sum(axis=1)

    @property
    def gap(self) -> np.ndarray | None:
        """The sum of the attributions minus `explained - neutral`, `(batch,)`: 0 if complete; None for a gradient."""
        if self.explained is None or self.neutral is None:
            return None
        return self.events.sum(axis=(1, 2), dtype="float64") - (self.explained - self.neutral)

    def to_shap(self, feature_names: Sequence[str] | None = None) -> Any:
        """Return the attribution as a `shap.Explanation`, whose plots take it.

        Args:
            feature_names: Names of the features.

        Returns:
            A `shap.Explanation` with `values`, `data` `(batch, time, features)` and `base_values` `(batch,)`; one example's
            events of one feature are `explanation[0, :, 0]`.

        Raises:
            ImportError: shap is not installed.
            ValueError: A gradient, which does not add up to the prediction.
        """
        if self.neutral is None:
            raise InvalidArgument(
                "Influence.to_shap: a gradient does not add up to the prediction; use method='integrated'."
            )
        try:
            import shap
        except ImportError as error:
            raise ImportError("Influence.to_shap needs shap: pip install shap.") from error
        names = None if feature_names is None else list(feature_names)
        return shap.Explanation(self.events, base_values=self.neutral, data=self.inputs, feature_names=names)

    def _repr_html_(self) -> str:
        rows = [_bars(strength, known) for strength, known in zip(self.strength[:SHOWN], self._known())]
        more = f"<p>… and {len(self.events) - SHOWN} more sequences</p>" if len(self.events) > SHOWN else ""
        values = self.score if self.explained is None else self.explained
        lines = "".join(f"<tr><td>{k}</td><td>{values[k]:.3g}</td><td>{row}</td></tr>" for k, row in enumerate(rows))
        head = f"<tr><th>example</th><th>{html.escape(self.of)}</th><th>influence of each event</th></tr>"
        return f"<p>{html.escape(repr(self)[1:-1])}</p><table>{head}{lines}</table>{more}"

    def _known(self) -> np.ndarray:
        return np.ones(self.events.shape[:2], bool) if self.mask is None else self.mask


def _bars(strength: np.ndarray, known: np.ndarray) -> str:
    """Return a strip of bars, one per event that was not skipped, as SVG: blue upwards, orange downwards."""
    strength = strength[: int(np.flatnonzero(known)[-1]) + 1 if known.any() else 0]
    width, height = 480, 40
    largest = float(np.abs(strength).max(initial=0.0)) or 1.0
    step, middle = width / max(len(strength), 1), height / 2 if strength.min(initial=0.0) < 0 else height
    bars = []
    for t, value in enumerate(strength.tolist()):
        size = abs(value) / largest * middle
        top, colour = (middle - size, "#0072b2") if value >= 0 else (middle, "#d55e00")
        bars.append(
            f'<rect x="{t * step:.1f}" y="{top:.1f}" width="{max(step - 0.5, 0.5):.1f}" height="{size:.1f}" fill="{colour}">'
            f"<title>event {t}: {value:.3g}</title></rect>"
        )
    return f'<svg width="{width}" height="{height}" role="img" aria-label="influence by event">{"".join(bars)}</svg>'
