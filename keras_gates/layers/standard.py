"""The standard LSTM among all cells: what exported operators and integer layers can compute."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_gates.layers.cell import GateLSTMCell


def why_not_standard(cell: Any) -> str:
    """Return why a cell is not the standard LSTM with the built-in gates; empty if it is.

    Args:
        cell: A recurrent cell of any class.
    """
    if type(cell) not in (keras.layers.LSTMCell, GateLSTMCell):
        return f"its cell is {type(cell).__name__}, the operator is an LSTM"
    if isinstance(cell, GateLSTMCell) and cell.formulation != "standard":
        return "the operator computes the standard formulation only, this is the article's"
    if isinstance(cell, GateLSTMCell) and not cell.is_plain:
        return "one of its gates is not the built-in one"
    if cell.activation is not keras.activations.tanh or cell.recurrent_activation is not keras.activations.sigmoid:
        return "the operator's activations are tanh and sigmoid"
    return ""


def is_article(cell: Any) -> bool:
    """Return whether a cell computes the article's formulation with the built-in gates and activations.

    Args:
        cell: A recurrent cell of any class.
    """
    if type(cell) is not GateLSTMCell or cell.formulation != "article" or not cell.is_plain:
        return False
    return cell.activation is keras.activations.tanh and cell.recurrent_activation is keras.activations.sigmoid


def weights_of(cell: Any) -> tuple[Any, Any, Any]:
    """Return the weights of an LSTM's gates as tensors, columns ignore, forget, candidate, use.

    Args:
        cell: A cell for which `why_not_standard` is empty, or of the article's formulation.

    Returns:
        Kernel `(features, 4 * units)`, recurrent kernel `(units, 4 * units)`, and bias `(4 * units,)` or None.
    """
    joint = cell.joint_weights() if isinstance(cell, GateLSTMCell) else cell
    bias = joint.bias if cell.use_bias else None
    kernel, recurrent_kernel = (ops.convert_to_tensor(weight) for weight in (joint.kernel, joint.recurrent_kernel))
    return kernel, recurrent_kernel, None if bias is None else ops.convert_to_tensor(bias)
