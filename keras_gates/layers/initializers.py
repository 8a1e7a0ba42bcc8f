"""Initial weights: those that `keras.layers.LSTM` starts with, cut into gates; and biases for long time spans."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates._arguments import typed_with


def joint_columns(initializer: Callable, blocks: tuple[int, ...], units: int) -> Callable:
    """Return an initializer that draws the joint kernel of all four gates and keeps the columns of `blocks`.

    Drawn for one gate alone, glorot and orthogonal kernels come out twice too large, and one seeded initializer given to
    two gates would make them equal. Drawing what `keras.layers.LSTM` draws, `(rows, 4 * units)` in its order
    ignore | forget | candidate | use, and slicing gives every gate exactly the columns it has there.

    Args:
        initializer: Function `(shape, dtype) -> tensor`, such as a `keras.initializers.Initializer`.
        blocks: Tuple of ints, the gate's places in the joint kernel: 0 ignore, 1 forget, 2 candidate, 3 use.
        units: Positive integer, the width of a block.

    Returns:
        A function `(shape, dtype) -> tensor` of shape `(*shape[:-1], len(blocks) * units)`.
    """

    def draw(shape: tuple[int, ...], dtype: str | None = None) -> Any:
        joint = initializer((*shape[:-1], 4 * units), dtype=dtype)
        return ops.concatenate([joint[..., b * units : (b + 1) * units] for b in blocks], axis=-1)

    return draw


def forget_bias_of_one(initializer: Callable, units: int) -> Callable:
    """Return an initializer of the joint bias with ones for the forget gate (`unit_forget_bias`).

    It draws in the same three pieces as `keras.layers.LSTM`, so that a seed gives the same numbers.

    Args:
        initializer: Function `(shape, dtype) -> tensor`, for the other gates.
        units: Positive integer, the width of a gate's bias.

    Returns:
        A function `(shape, dtype) -> tensor` of shape `(4 * units,)`.
    """

    def draw(shape: tuple[int, ...], dtype: str | None = None) -> Any:
        ignore = initializer((units,), dtype=dtype)
        candidate_and_use = initializer((2 * units,), dtype=dtype)
        return ops.concatenate([ignore, ops.ones((units,), dtype=dtype), candidate_and_use], axis=-1)

    return draw


@typed_with(own=("span",))
def start_with_span(layer: keras.layers.Layer, span: float) -> None:
    """Set the biases of a new layer so that its LTM (cell state) holds what it learned for 1 … `span` time steps.

        b_f = log(s)        b_i = -b_f        s spread evenly over 1 … span, one value per unit

    So the forget factor starts near s / (1 + s), which keeps a memory for about s steps, and the ignore factor near
    1 / (1 + s). A coupled forget gate has no bias and follows the ignore factor; always-open gates stay as they are. The
    default of Keras, `unit_forget_bias=True`, forgets within about four steps.

    Args:
        layer: a built `GateLSTM` or `GateLSTMCell`.
        span: number of at least 1: the longest time, in time steps, that something must be remembered.

    Raises:
        ValueError: the layer is not built, has no biases (`use_bias=False`), or `span` is less than 1.

    Source: Tallec and Ollivier, Can Recurrent Neural Networks Warp Time?, 2018 (chrono initialization; there s is drawn at
    random).

    Example:

    >>> layer = keras_gates.GateLSTM(3)
    >>> layer.build((None, None, 2))
    >>> keras_gates.start_with_span(layer, 100)
    >>> [round(float(keep), 2) for keep in keras.ops.sigmoid(layer.cell.forget.bias)]
    [0.5, 0.98, 0.99]
    """
    cell = getattr(layer, "cell", layer)
    if not (isinstance(span, int | float | np.number) and 1 <= span < math.inf):
        raise ValueError(f"start_with_span: `span` must be a number of time steps, at least 1, got {span!r}.")
    if not cell.built:
        raise ValueError(
            f"start_with_span: {layer.name} has no weights yet; build it or call it on data first, "
            f"e.g. {layer.name}.build((None, None, features))."
        )
    forget = getattr(cell.forget, "bias", None)
    learn = cell.learn.bias if getattr(cell.learn, "blocks", None) == (0, 2) else None  # ignore factor and candidate
    if forget is None and learn is None and not cell.use_bias:
        raise ValueError(f"start_with_span: {layer.name} has use_bias=False, but the span is set by biases.")
    log_spans = np.log(np.linspace(1, span, cell.units)).astype("float32")
    if forget is not None:
        forget.assign(log_spans)
    if learn is not None:
        learn.assign(ops.concatenate([-log_spans, learn[cell.units :]]))
