"""Layers and models to and from `keras.layers.LSTM`, and between the package's two classes.

Which layers there are to exchange, and their weights; `cloning.py` does it in a model.
"""

from __future__ import annotations

import keras
import numpy as np
from keras.layers import LSTM, RNN, Layer, LSTMCell

from keras_gates._arguments import typed
from keras_gates.conversion.arguments import Part, arguments_of
from keras_gates.conversion.cloning import Exchange, exchange
from keras_gates.layers.cell import GateLSTMCell
from keras_gates.layers.lstm import GateLSTM


def from_keras(layer_or_model: Layer) -> Layer:
    """Return the same layer or model with every Keras LSTM exchanged for one with named gates, same numbers.

    `LSTM` becomes `GateLSTM`, `LSTMCell` becomes `GateLSTMCell`; inside `RNN`, `StackedRNNCells`, `Bidirectional`,
    `TimeDistributed`, sequential, functional and nested models; a layer used twice stays one layer. A compiled model is
    compiled with the same arguments; its optimizer starts without state. Layers, losses, metrics and activations need not be
    registered, and may be lambdas. A subclass of `LSTM` that overrides only its constructor or config is exchanged, too; one
    that overrides how it runs is left alone, with a warning. `model.quantize("int8")` leaves recurrent kernels float, as it
    does in Keras' LSTM.

    Args:
        layer_or_model: a layer, built or not, or a functional or sequential model. It is not changed.

    Returns:
        A new layer or model with copies of the weights, of the state of stateful layers and of the dropout generators.

    Raises:
        TypeError: it contains nothing to exchange, is a subclassed model (its `call` is code, which cannot be rebuilt), or
            holds a layer of a custom class whose constructor's arguments are not known.

    Example:

    >>> layer = keras.layers.LSTM(8)
    >>> layer.build((None, None, 3))
    >>> keras.ops.shape(keras_gates.from_keras(layer).cell.forget.kernel)
    (3, 8)
    """
    return exchange(layer_or_model, _GateOfKeras())


def to_keras(layer_or_model: Layer) -> Layer:
    """Return the same layer or model with `keras.layers.LSTM` and `LSTMCell` instead of `GateLSTM` and `GateLSTMCell`.

    The weights are the same bit for bit.

    Args:
        layer_or_model: as for `from_keras`.

    Returns:
        A new layer or model.

    Raises:
        ValueError: it contains the article form or a custom gate, for which Keras has no layer.
        TypeError: it contains nothing to exchange, or is a subclassed model.

    Example:

    >>> keras_gates.to_keras(keras_gates.GateLSTM(8)).units
    8
    """
    return exchange(layer_or_model, _KerasOfGate())


@typed
def convert(layer_or_model: Layer, to: type) -> Layer:
    """Return the same layer or model with `GateLSTM(...)` instead of `keras.layers.RNN(GateLSTMCell(...))`, or the reverse.

    Weights, custom gates and numbers stay. Weight files are keyed by class, so this is the way to move them between the two
    classes.

    Args:
        layer_or_model: as for `from_keras`.
        to: the class to convert to: `keras_gates.GateLSTM` or `keras.layers.RNN`.

    Returns:
        A new layer or model.

    Raises:
        ValueError: `to` is neither of the two.
        TypeError: it contains nothing to exchange, or is a subclassed model.

    Example:

    >>> type(keras_gates.convert(keras_gates.GateLSTM(8), to=keras.layers.RNN)).__name__
    'RNN'
    """
    exchanges: dict[type, Exchange] = {GateLSTM: _GateLSTMOfRNN(), RNN: _RNNOfGateLSTM()}
    if to not in exchanges:
        raise ValueError(f"convert: `to` must be keras_gates.GateLSTM or keras.layers.RNN, got {to!r}.")
    return exchange(layer_or_model, exchanges[to])


class _GateOfKeras(Exchange):
    """`keras.layers.LSTM` and `LSTMCell` to `GateLSTM` and `GateLSTMCell`."""

    what = "keras.layers.LSTM or LSTMCell"

    def rebuild(self, layer: Layer, part: Part) -> Layer | None:
        if is_keras_lstm(layer):
            arguments = arguments_of(layer, part, lambda: LSTM.get_config(layer))
            # Keras leaves these two out of the config of some versions.
            arguments |= {"use_cudnn": layer.use_cudnn, "implementation": layer.cell.implementation}
            return GateLSTM(**arguments)
        if is_keras_lstm_cell(layer):
            arguments = arguments_of(layer, part, lambda: LSTMCell.get_config(layer))
            return GateLSTMCell(**{**arguments, "implementation": layer.implementation})
        return None

    def left_alone(self, layer: Layer) -> str:
        for base in (LSTM, LSTMCell):
            if isinstance(layer, base):
                own = overridden(layer, base) or overridden(getattr(layer, "cell", layer), LSTMCell) or ["cell"]
                return (
                    f"{layer.name} ({type(layer).__name__}) overrides {', '.join(own)} of keras.layers.{base.__name__}"
                )
        return ""

    def weights(self, old: Layer, new: Layer) -> list[np.ndarray]:
        u, joint = new.units, old.get_weights()
        i, f, c, o = (slice(k * u, (k + 1) * u) for k in range(4))
        learn = [np.concatenate([w[..., i], w[..., c]], axis=-1) for w in joint]
        return [*learn, *(w[..., f] for w in joint), *(w[..., o] for w in joint)]


# What a subclass may override without running in another way.
_CONSTRUCTION = {
    "get_config",
    "from_config",
    "get_build_config",
    "build_from_config",
    "get_quantization_layer_structure",
}


def overridden(layer: Layer, base: type) -> list[str]:
    """Return which of a class' methods and attributes a layer's class overrides, its constructor and config aside."""
    classes = type(layer).__mro__[: type(layer).__mro__.index(base)] if isinstance(layer, base) else ()
    names = sorted({name for cls in classes for name in vars(cls) if hasattr(base, name)})
    return [name for name in names if name not in _CONSTRUCTION and not (name.startswith("__") and name != "__call__")]


def is_keras_lstm(layer: Layer) -> bool:
    """Return whether this is `keras.layers.LSTM`, or a subclass that overrides only its constructor or config."""
    if not isinstance(layer, LSTM) or overridden(layer, LSTM):
        return False
    return is_keras_lstm_cell(layer.cell)


def is_keras_lstm_cell(cell: Layer) -> bool:
    """Return whether this is `keras.layers.LSTMCell`, or a subclass that overrides only its constructor or config."""
    return isinstance(cell, LSTMCell) and not overridden(cell, LSTMCell)


class _KerasOfGate(Exchange):
    """`GateLSTM` and `GateLSTMCell` to `keras.layers.LSTM` and `LSTMCell`."""

    what = "GateLSTM or GateLSTMCell"

    def rebuild(self, layer: Layer, part: Part) -> Layer | None:
        if type(layer) not in (GateLSTM, GateLSTMCell):
            return None
        cell = getattr(layer, "cell", layer)
        if cell.formulation != "standard" or not cell.is_plain:
            obstacle = "the article form" if cell.formulation != "standard" else "a custom gate"
            raise ValueError(
                f"to_keras: {layer.name} has {obstacle}, for which Keras has no layer. Only the standard form with plain "
                "gates has the weights of keras.layers.LSTM."
            )
        arguments = arguments_of(layer, part)
        for name in ("formulation", "format", "loop", "implementation", "saturation"):
            arguments.pop(name, None)
        return {GateLSTM: LSTM, GateLSTMCell: LSTMCell}[type(layer)](**arguments, implementation=cell.implementation)

    def weights(self, old: Layer, new: Layer) -> list[np.ndarray]:
        cell = getattr(old, "cell", old)
        return [keras.ops.convert_to_numpy(w) for w in cell.joint_weights() if w is not None]


class _GateLSTMOfRNN(Exchange):
    """`keras.layers.RNN(GateLSTMCell)` to `GateLSTM`."""

    what = "keras.layers.RNN(GateLSTMCell)"

    def rebuild(self, layer: Layer, part: Part) -> Layer | None:
        if type(layer) is not RNN or not isinstance(layer.cell, GateLSTMCell):
            return None
        outer = arguments_of(layer, lambda cell: cell)
        cell = arguments_of(outer.pop("cell"), part)
        return GateLSTM(**{**cell, "activity_regularizer": layer.activity_regularizer, **outer})


class _RNNOfGateLSTM(Exchange):
    """`GateLSTM` to `keras.layers.RNN(GateLSTMCell)`."""

    what = "GateLSTM"

    def rebuild(self, layer: Layer, part: Part) -> Layer | None:
        if type(layer) is not GateLSTM:
            return None
        outer = arguments_of(layer, part, lambda: RNN.get_config(layer))
        return RNN(**{**outer, "activity_regularizer": layer.activity_regularizer})
