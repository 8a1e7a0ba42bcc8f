"""Running a function the way Keras runs a layer's `call`, and a sequence the way `keras.layers.RNN` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


class _Caller(keras.layers.Layer):
    def __init__(self, function: Callable, dtype: Any) -> None:
        super().__init__(dtype=dtype)
        self.function = function

    def call(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return self.function(**arguments)


def in_call_scope(function: Callable, arguments: dict[str, Any], dtype: Any) -> Any:
    """Return `function(**arguments)`, computed as inside a layer's call: weights cast, symbolic tensors allowed.

    Keras casts a weight of mixed precision to the compute dtype, and computes shapes from symbolic tensors, only in there.

    Args:
        function: takes tensors and returns a dict of tensors.
        arguments: Dict of tensors.
        dtype: the `keras.DTypePolicy` to compute in.

    Returns:
        What `function` returned.
    """
    return _Caller(function, dtype)(arguments)


def calls_in_short(layer: keras.layers.RNN) -> bool:
    """Return whether `in_short` does all that `keras.layers.RNN.call` does: on PyTorch, with nothing to keep or drop."""
    return keras.backend.backend() == "torch" and not (
        layer.stateful or layer.unroll or layer.dropout or layer.recurrent_dropout
    )


def in_short(
    layer: keras.layers.RNN, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
) -> Any:
    """Return what `keras.layers.RNN.call` returns for a layer that `calls_in_short`.

    On PyTorch every call is eager, and walking through nested states, looking for dropout masks and slicing off an event for
    them takes a third of the time of a short sequence.

    Args:
        layer: a built layer with `inner_loop`.
        sequences: Tensor `(batch, time, features)`.
        initial_state: list of tensors `(batch, units)`, or None for zeros.
        mask: Boolean tensor `(batch, time)`, or None.
        training: Boolean, passed on.

    Returns:
        The last output or all, with `return_state` in a tuple before the states, in the compute dtype.
    """
    dtype = layer.compute_dtype
    if initial_state is None:
        states = layer.get_initial_state(sequences.shape[0])
    else:
        states = [ops.convert_to_tensor(state, dtype=layer.cell.compute_dtype) for state in initial_state]
    last, outputs, states = layer.inner_loop(sequences=sequences, initial_state=states, mask=mask, training=training)
    output = ops.cast(outputs if layer.return_sequences else last, dtype)
    return (output, *[ops.cast(state, dtype) for state in states]) if layer.return_state else output
