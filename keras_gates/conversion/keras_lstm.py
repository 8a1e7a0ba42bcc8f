"""Layers and models to and from `keras.layers.LSTM`, and between the package's two classes.

A layer is rebuilt from its config with the recurrent part exchanged, also inside a wrapper (`Bidirectional`,
`TimeDistributed`, `StackedRNNCells`), then the weights are copied. A model is cloned layer by layer in that way.
"""

from __future__ import annotations

from typing import Any, Protocol

import keras
import numpy as np
from keras.layers import LSTM, RNN, Layer, LSTMCell

from keras_gates.layers.cell import GateLSTMCell
from keras_gates.layers.lstm import GateLSTM


def from_keras(layer_or_model: Layer) -> Layer:
    """Return the same layer or model with every Keras LSTM exchanged for one with named gates, same numbers.

    `LSTM` becomes `GateLSTM`, `LSTMCell` becomes `GateLSTMCell`; inside `RNN`, `StackedRNNCells`, `Bidirectional`,
    `TimeDistributed`, sequential, functional and nested models; a layer used twice stays one layer. A compiled model is
    compiled with the same arguments; its optimizer starts without state. `model.quantize("int8")` leaves recurrent kernels
    float, as it does in Keras' LSTM.

    Args:
        layer_or_model: a layer, built or not, or a functional or sequential model. It is not changed.

    Returns:
        A new layer or model with copies of the weights, of the state of stateful layers and of the dropout generators.

    Raises:
        TypeError: it contains nothing to exchange, or is a subclassed model (its `call` is code, which cannot be rebuilt).

    Example:

    >>> layer = keras.layers.LSTM(8)
    >>> layer.build((None, None, 3))
    >>> keras.ops.shape(keras_gates.from_keras(layer).cell.forget.kernel)
    (3, 8)
    """
    return _exchange(layer_or_model, _GateOfKeras)


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
    return _exchange(layer_or_model, _KerasOfGate)


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
    exchanges: dict[type, _Exchange] = {GateLSTM: _GateLSTMOfRNN, RNN: _RNNOfGateLSTM}
    if to not in exchanges:
        raise ValueError(f"convert: `to` must be keras_gates.GateLSTM or keras.layers.RNN, got {to!r}.")
    return _exchange(layer_or_model, exchanges[to])


class _Exchange(Protocol):
    """One kind of exchange.

    Attributes:
        what: the class that it looks for, for errors.
    """

    what: str

    def rebuild(self, layer: Layer) -> Layer | None:
        """Return the new layer without weights, or None if `layer` is not of the class."""

    def weights(self, old: Layer, new: Layer) -> list[np.ndarray]:
        """Return the weights of `old` in the order of `new`."""


class _GateOfKeras:
    """`keras.layers.LSTM` and `LSTMCell` to `GateLSTM` and `GateLSTMCell`."""

    what = "keras.layers.LSTM or LSTMCell"

    @staticmethod
    def rebuild(layer: Layer) -> Layer | None:
        if type(layer) is LSTMCell:
            return GateLSTMCell.from_config({**layer.get_config(), "implementation": layer.implementation})
        if type(layer) is LSTM:
            # Keras leaves these two out of the config of some versions.
            options = {"use_cudnn": layer.use_cudnn, "implementation": layer.cell.implementation}
            return GateLSTM.from_config({**layer.get_config(), **options})
        return None

    @staticmethod
    def weights(old: Layer, new: Layer) -> list[np.ndarray]:
        u, joint = new.units, old.get_weights()
        i, f, c, o = (slice(k * u, (k + 1) * u) for k in range(4))
        learn = [np.concatenate([w[..., i], w[..., c]], axis=-1) for w in joint]
        return [*learn, *(w[..., f] for w in joint), *(w[..., o] for w in joint)]


class _KerasOfGate:
    """`GateLSTM` and `GateLSTMCell` to `keras.layers.LSTM` and `LSTMCell`."""

    what = "GateLSTM or GateLSTMCell"

    @staticmethod
    def rebuild(layer: Layer) -> Layer | None:
        if type(layer) not in (GateLSTM, GateLSTMCell):
            return None
        cell = getattr(layer, "cell", layer)
        if cell.formulation != "standard" or not cell.is_plain:
            obstacle = "the article form" if cell.formulation != "standard" else "a custom gate"
            raise ValueError(
                f"to_keras: {layer.name} has {obstacle}, for which Keras has no layer. Only the standard form with plain "
                "gates has the weights of keras.layers.LSTM."
            )
        config = layer.get_config()
        for name in ("formulation", "format", "loop", "implementation"):
            config.pop(name, None)
        return {GateLSTM: LSTM, GateLSTMCell: LSTMCell}[type(layer)](**config, implementation=cell.implementation)

    @staticmethod
    def weights(old: Layer, new: Layer) -> list[np.ndarray]:
        cell = getattr(old, "cell", old)
        return [keras.ops.convert_to_numpy(w) for w in cell.joint_weights() if w is not None]


class _GateLSTMOfRNN:
    """`keras.layers.RNN(GateLSTMCell)` to `GateLSTM`."""

    what = "keras.layers.RNN(GateLSTMCell)"

    @staticmethod
    def rebuild(layer: Layer) -> Layer | None:
        if type(layer) is not RNN or not isinstance(layer.cell, GateLSTMCell):
            return None
        config = layer.get_config()
        del config["cell"]
        activity_regularizer = keras.regularizers.serialize(layer.activity_regularizer)
        return GateLSTM.from_config({**layer.cell.get_config(), "activity_regularizer": activity_regularizer, **config})

    @staticmethod
    def weights(old: Layer, new: Layer) -> list[np.ndarray]:
        return old.get_weights()


class _RNNOfGateLSTM:
    """`GateLSTM` to `keras.layers.RNN(GateLSTMCell)`."""

    what = "GateLSTM"

    @staticmethod
    def rebuild(layer: Layer) -> Layer | None:
        if type(layer) is not GateLSTM:
            return None
        outer = RNN.get_config(layer)
        return RNN.from_config({**outer, "activity_regularizer": layer.activity_regularizer})

    weights = _GateLSTMOfRNN.weights


def _exchange(layer_or_model: Layer, kind: _Exchange) -> Layer:
    if isinstance(layer_or_model, keras.Model):
        return _exchange_in_model(layer_or_model, kind)
    new = _rebuild(layer_or_model, kind)
    if new is None:
        raise TypeError(f"Expected {kind.what}, alone or inside a Keras wrapper or model, got {layer_or_model!r}.")
    if layer_or_model.built:
        new.build_from_config(layer_or_model.get_build_config())
        _copy_state(layer_or_model, new, kind)
    return new


def _exchange_in_model(model: keras.Model, kind: _Exchange) -> keras.Model:
    if not (isinstance(model, keras.Sequential) or type(model) is keras.Model or hasattr(model, "operations")):
        raise TypeError(
            f"{model.name} is a subclassed model: its call is code that cannot be rebuilt. Convert its layers one by one, or "
            "write it as a functional model."
        )
    pairs: list[tuple[Layer, Layer]] = []
    exchanged: list[Layer] = []

    def clone(operation: keras.Operation) -> keras.Operation:
        new = _rebuild(operation, kind)
        if new is None:
            new = type(operation).from_config(operation.get_config())
        else:
            exchanged.append(new)
        if isinstance(new, Layer):
            pairs.append((operation, new))
        return new

    clone_model = keras.models.clone_model(model, clone_function=clone, recursive=True)
    if not exchanged:
        raise TypeError(f"{model.name} holds no {kind.what} that could be exchanged.")
    for old, new in pairs:
        if old.built:
            if not new.built:
                new.build_from_config(old.get_build_config())
            _copy_state(old, new, kind)
    if model.compiled:
        clone_model.compile_from_config(model.get_compile_config())
    return clone_model


def _rebuild(layer: Layer, kind: _Exchange) -> Layer | None:
    """Return a new layer with the exchange done in it, or None if there is nothing to exchange."""
    new = kind.rebuild(layer)
    if new is not None:
        return new
    inner = {name: _rebuild(part, kind) for name, part in _parts(layer).items()}
    if not any(part is not None for part in inner.values()):
        return None
    parts = {name: inner[name] or part for name, part in _parts(layer).items()}
    config = layer.get_config()
    if isinstance(layer, keras.layers.StackedRNNCells):
        config["cells"] = [keras.saving.serialize_keras_object(part) for part in parts.values()]
    else:
        config.update({_CONFIG_KEYS[name]: keras.saving.serialize_keras_object(part) for name, part in parts.items()})
    return type(layer).from_config(config)


_CONFIG_KEYS = {"cell": "cell", "layer": "layer", "forward_layer": "layer", "backward_layer": "backward_layer"}


def _parts(layer: Layer) -> dict[str, Layer]:
    """Return the layers inside a Keras wrapper, by attribute."""
    if isinstance(layer, keras.layers.StackedRNNCells):
        return {str(k): cell for k, cell in enumerate(layer.cells)}
    if isinstance(layer, keras.layers.Bidirectional):
        return {"forward_layer": layer.forward_layer, "backward_layer": layer.backward_layer}
    if type(layer) is RNN:
        return {"cell": layer.cell}
    if isinstance(layer, keras.layers.Wrapper):
        return {"layer": layer.layer}
    return {}


def _copy_state(old: Layer, new: Layer, kind: _Exchange) -> None:
    """Copy weights, the state of a stateful layer and of the dropout generator from `old` to `new`."""
    if _is_exchange(old, new):
        new.set_weights(kind.weights(old, new))
        _assign(getattr(old, "cell", old).seed_generator.state, getattr(new, "cell", new).seed_generator.state)
    elif _parts(old):
        for old_part, new_part in zip(_parts(old).values(), _parts(new).values()):
            _copy_state(old_part, new_part, kind)
    else:
        new.set_weights(old.get_weights())
    for old_state, new_state in zip(_states(old), _states(new)):
        _assign(old_state, new_state)


def _is_exchange(old: Layer, new: Layer) -> bool:
    return type(old) is not type(new) and not isinstance(old, keras.Model)


def _states(layer: Layer) -> list[Any]:
    return keras.tree.flatten(getattr(layer, "states", None) or [])


def _assign(old: Any, new: Any) -> None:
    new.assign(keras.ops.convert_to_numpy(old))
