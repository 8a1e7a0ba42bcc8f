"""Weights to and from `torch.nn.LSTM`, whatever the Keras backend.

PyTorch keeps the gates in rows in the order input, forget, cell, output, with two biases, which it adds;
`keras.layers.LSTM` keeps the same order in columns, with one bias.
"""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np

from keras_gates._arguments import typed
from keras_gates.conversion.keras_lstm import from_keras, to_keras
from keras_gates.layers.lstm import GateLSTM


@typed
def from_torch(module: Any, return_sequences: bool = True) -> keras.layers.Layer:
    """Return a `torch.nn.LSTM` as `GateLSTM`: one layer and direction as a layer, several as a model. Same numbers.

    The two biases are summed. Events are batch-major, `(batch, time, features)`, whatever `batch_first` says.

    Args:
        module: `torch.nn.LSTM` (any `num_layers`, `bidirectional`, `bias`, `dropout` between layers).
        return_sequences: Boolean, return every STM, `(batch, time, units)`, as PyTorch does, or only the last.

    Returns:
        A built `GateLSTM`; for several layers or two directions a `keras.Sequential` of `GateLSTM`,
        `Bidirectional(GateLSTM)` and `Dropout`. Weights in the module's dtype, float32 or float64.

    Raises:
        TypeError: `module` is not a `torch.nn.LSTM`.
        ValueError: it has a projection (`proj_size`), which has no counterpart here.
        ImportError: PyTorch is not installed.

    Example:

    >>> layer = keras_gates.from_torch(torch.nn.LSTM(3, 8))
    >>> layer.units
    8
    """
    torch = _torch("from_torch")
    if not isinstance(module, torch.nn.LSTM):
        raise TypeError(f"from_torch: expected a torch.nn.LSTM, got {type(module).__name__}.")
    if module.proj_size:
        raise ValueError(f"from_torch: proj_size={module.proj_size} has no counterpart here; it must be 0.")
    weights = {name: value.detach().cpu().numpy() for name, value in module.named_parameters()}
    dtype = str(weights["weight_ih_l0"].dtype)
    width = module.hidden_size * (2 if module.bidirectional else 1)

    layers, arrays = [keras.Input((None, module.input_size), dtype=dtype)], []
    for number in range(module.num_layers):
        last = number == module.num_layers - 1
        layer = GateLSTM(
            module.hidden_size, use_bias=module.bias, return_sequences=return_sequences or not last, dtype=dtype
        )
        parts = [_of_torch(weights, f"_l{number}", module.bias)]
        if module.bidirectional:
            layer = keras.layers.Bidirectional(layer, dtype=dtype)
            parts.append(_of_torch(weights, f"_l{number}_reverse", module.bias))
        layers.append(layer)
        arrays.append((layer, parts, module.input_size if number == 0 else width))
        if module.dropout and not last:
            layers.append(keras.layers.Dropout(module.dropout, dtype=dtype))
    result = layers[1] if module.num_layers == 1 and not module.bidirectional else keras.Sequential(layers)
    for layer, parts, features in arrays:
        if not layer.built:
            layer.build((None, None, features))
        for direction, joint in zip(_directions(layer), parts):
            _set_joint(direction, joint, features)
    return result


@typed
def to_torch(layer_or_model: keras.layers.Layer) -> Any:
    """Return a `GateLSTM`, or a sequential model of them, as one `torch.nn.LSTM(batch_first=True)`. Same numbers.

    The bias goes to `b_ih`; `b_hh` is zero.

    Args:
        layer_or_model: a built `GateLSTM` or `Bidirectional(GateLSTM)`, or a sequential model of such layers with equal units
            (and `Dropout` between them), in the standard form with plain gates, tanh and sigmoid.

    Returns:
        A `torch.nn.LSTM` in the layer's dtype.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: the article form, custom gates, other activations, unequal units, biases, directions or dropout, a
            layer that goes backwards, no weights yet, or layers that `torch.nn.LSTM` does not have.

    Example:

    >>> layer = keras_gates.GateLSTM(8)
    >>> layer.build((None, None, 3))
    >>> keras_gates.to_torch(layer).hidden_size
    8
    """
    torch = _torch("to_torch")
    layers = layer_or_model.layers if isinstance(layer_or_model, keras.Sequential) else [layer_or_model]
    recurrent = [layer for layer in layers if not isinstance(layer, keras.layers.Dropout)]
    stacks = [_directions(layer) for layer in recurrent]
    for directions in stacks:
        for direction, backwards in zip(directions, (False, True)):
            _check_for_torch(direction, backwards)
    if not stacks:
        raise ValueError("to_torch: there is no GateLSTM in the model.")
    first = stacks[0][0]
    alike = {(len(directions), layer.units, layer.use_bias) for directions in stacks for layer in directions}
    if len(alike) > 1:
        raise ValueError("to_torch: torch.nn.LSTM needs the same units, bias and directions in every layer.")
    between = [_rate(layers, before, after) for before, after in itertools.pairwise(recurrent)]
    if (
        len(set(between)) > 1
        or isinstance(layers[0], keras.layers.Dropout)
        or isinstance(layers[-1], keras.layers.Dropout)
    ):
        raise ValueError(
            "to_torch: torch.nn.LSTM has one Dropout rate, for all places between its layers and no other."
        )
    module = torch.nn.LSTM(
        first.cell.learn.kernel.shape[0],
        first.units,
        num_layers=len(stacks),
        bias=first.use_bias,
        batch_first=True,
        bidirectional=len(stacks[0]) == 2,
        dropout=between[0] if between else 0.0,
        dtype=getattr(torch, first.variable_dtype),
    )
    with torch.no_grad():
        for number, directions in enumerate(stacks):
            for direction, suffix in zip(directions, (f"_l{number}", f"_l{number}_reverse")):
                kernel, recurrent_kernel, *bias = to_keras(direction).get_weights()
                getattr(module, f"weight_ih{suffix}").copy_(torch.from_numpy(kernel.T.copy()))
                getattr(module, f"weight_hh{suffix}").copy_(torch.from_numpy(recurrent_kernel.T.copy()))
                if bias:
                    getattr(module, f"bias_ih{suffix}").copy_(torch.from_numpy(bias[0].copy()))
                    getattr(module, f"bias_hh{suffix}").zero_()
    return module


def _torch(function: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{function} needs PyTorch: pip install 'keras-gates[torch]'.") from error
    return torch


def _of_torch(weights: dict[str, np.ndarray], suffix: str, bias: bool) -> list[np.ndarray]:
    """Return kernel, recurrent kernel and summed bias of one layer and direction, as `keras.layers.LSTM` stores them."""
    joint = [weights[f"weight_ih{suffix}"].T, weights[f"weight_hh{suffix}"].T]
    return [*joint, weights[f"bias_ih{suffix}"] + weights[f"bias_hh{suffix}"]] if bias else joint


def _directions(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    if isinstance(layer, keras.layers.Bidirectional):
        return [layer.forward_layer, layer.backward_layer]
    return [layer]


def _rate(layers: list[keras.layers.Layer], before: keras.layers.Layer, after: keras.layers.Layer) -> float:
    """Return the rate of the `Dropout` between two layers, 0 without one, -1 if there are several."""
    rates = [layer.rate for layer in layers[layers.index(before) + 1 : layers.index(after)]]
    return sum(rates) if len(rates) < 2 else -1.0


def _set_joint(layer: GateLSTM, joint: list[np.ndarray], features: int) -> None:
    """Give `layer` the weights that `keras.layers.LSTM` would have."""
    twin = keras.layers.LSTM(layer.units, use_bias=layer.use_bias, dtype=layer.dtype_policy)
    twin.build((None, None, features))
    twin.set_weights(joint)
    layer.set_weights(from_keras(twin).get_weights())


def _check_for_torch(layer: keras.layers.Layer, backwards: bool) -> None:
    if not isinstance(layer, GateLSTM):
        raise ValueError(f"to_torch: torch.nn.LSTM has no place for {layer.name} ({type(layer).__name__}).")
    if layer.go_backwards != backwards:
        raise ValueError(
            f"to_torch: {layer.name} has another go_backwards than its place in torch.nn.LSTM; use Bidirectional."
        )
    if (layer.activation, layer.recurrent_activation) != (keras.activations.tanh, keras.activations.sigmoid):
        raise ValueError(f"to_torch: {layer.name} must use tanh and sigmoid, as torch.nn.LSTM does.")
    if not layer.built:
        raise ValueError(f"to_torch: {layer.name} has no weights yet; build it or call it on data first.")
