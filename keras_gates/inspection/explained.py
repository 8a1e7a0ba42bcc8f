"""Which number of a prediction is explained: the log-odds of an answer where the prediction is probabilities, else the number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates._compat import cached_logits, flatten_layers
from keras_gates.inspection.inputs import to_numpy

TINY = 1e-30  # the smallest probability whose logarithm is taken


@dataclass(frozen=True)
class Explained:
    """The number of each example's prediction that is explained.

    Attributes:
        of: "log-odds" or "prediction".
        kind: "softmax" (probabilities that sum to 1), "sigmoid" (each a probability of its own) or "value".
        columns: `(batch,)`, index of the answer in the prediction.
        events: `(batch,)`, index of the event after which a model that predicts at every event is asked.
    """

    of: str
    kind: str
    columns: np.ndarray
    events: np.ndarray

    def repeated(self, copies: int) -> Explained:
        """Return the same for a batch that is repeated `copies` times."""
        return replace(self, columns=np.tile(self.columns, copies), events=np.tile(self.events, copies))

    def score(self, prediction: Any) -> Any:
        """Return the prediction's number itself, `(batch,)`, a tensor."""
        return _pick(self._answers(prediction), self.columns)

    def explained(self, prediction: Any) -> Any:
        """Return what is explained, `(batch,)`, a tensor: the log-odds of the number, or the number."""
        if self.of == "prediction":
            return self.score(prediction)
        logits = cached_logits(prediction)
        if logits is not None:
            logits = self._answers(logits)
        else:
            shares = ops.clip(self._answers(prediction), TINY, 1.0)
            logits = ops.log(shares)
            if self.kind == "sigmoid":
                logits = logits - ops.log(ops.maximum(1.0 - shares, TINY))
        if self.kind == "sigmoid":
            return _pick(logits, self.columns)
        own = ops.cast(ops.one_hot(self.columns, logits.shape[-1]), logits.dtype)
        return _pick(logits, self.columns) - ops.logsumexp(logits - 1e30 * own, axis=-1)

    def _answers(self, prediction: Any) -> Any:
        """Return the numbers among which the answer is, `(batch, answers)`."""
        return answers(prediction, self.events)


def answers(prediction: Any, events: np.ndarray) -> Any:
    """Return a prediction's numbers after one event per example, `(batch, answers)`: of several axes, the last."""
    if len(prediction.shape) > 2:
        index = ops.reshape(ops.convert_to_tensor(events, "int32"), (-1,) + (1,) * (len(prediction.shape) - 1))
        prediction = ops.squeeze(ops.take_along_axis(prediction, index, axis=1), 1)
    while len(prediction.shape) > 2:
        prediction = prediction[:, -1]
    return ops.cast(prediction if len(prediction.shape) == 2 else prediction[:, None], "float32")


def _pick(numbers: Any, columns: np.ndarray) -> Any:
    index = ops.convert_to_tensor(columns[:, None], "int32")
    return ops.take_along_axis(numbers, index, axis=1)[:, 0]


def kind_of_prediction(model: keras.layers.Layer, prediction: Any, events: np.ndarray) -> str:
    """Return "softmax", "sigmoid" or "value": what the numbers of a prediction are.

    Probabilities that sum to 1 are recognised by their values, probabilities of their own by the last layer's activation.
    """
    numbers = to_numpy(answers(prediction, events))
    inside = bool(numbers.size and numbers.min() >= 0 and numbers.max() <= 1)
    if inside and numbers.shape[1] > 1 and np.allclose(numbers.sum(axis=1), 1, atol=1e-3):
        return "softmax"
    if inside and (cached_logits(prediction) is not None or _last_activation(model) is keras.activations.sigmoid):
        return "sigmoid"
    return "value"


def _last_activation(model: keras.layers.Layer) -> Any:
    activations = (getattr(layer, "activation", None) for layer in reversed(flatten_layers(model)))
    return next((activation for activation in activations if activation is not None), None)
