"""Layers and models to and from `keras.layers.LSTM` and PyTorch, and between the package's two classes.

A layer is rebuilt from its configuration with the recurrent part exchanged, wherever it hides (in `Bidirectional`,
`TimeDistributed`, `StackedRNNCells`), then the weights are carried over. A model is cloned layer by layer in that way.
"""

from __future__ import annotations

from typing import Any, Protocol

import keras
import numpy as np
from keras.layers import LSTM, RNN, Layer, LSTMCell

from keras_gates.layers.cell import GateLSTMCell
from keras_gates.layers.lstm import GateLSTM


def from_keras(layer_or_model: Layer) -> Layer:
    """The same layer or model with every Keras LSTM exchanged for one with named gates, same numbers.

    `LSTM` becomes `GateLSTM`, `LSTMCell` becomes `GateLSTMCell`; inside `RNN`, `StackedRNNCells`, `Bidirectional`,
    `TimeDistributed`, sequential, functional and nested models; a layer used twice stays one layer. A compiled model comes
    back compiled alike; its optimizer starts anew. `model.quantize("int8")` leaves recurrent kernels float, as it does
    Keras' own.

    Args:
        layer_or_model: a layer, built or not, or a functional or sequential model. It is not changed.

    Raises:
        TypeError: nothing to exchange in it, or a subclassed model (its `call` is code, which cannot be rebuilt).

    Example:

    >>> layer = keras.layers.LSTM(8)
    >>> layer.build((None, None, 3))
    >>> keras.ops.shape(keras_gates.from_keras(layer).cell.forget.kernel)
    (3, 8)
    """
    return _exchange(layer_or_model, _GateOfKeras)


def to_keras(layer_or_model: Layer) -> Layer:
    """The same layer or model with `keras.layers.LSTM` and `LSTMCell` in the place of `GateLSTM` and `GateLSTMCell`.

    The weights are the same bit for bit.

    Args:
        layer_or_model: as for `from_keras`.

    Raises:
        ValueError: the article form or a gate of your own is in it, for which Keras has no layer.
        TypeError: nothing to exchange in it, or a subclassed model.

    Example:

    >>> keras_gates.to_keras(keras_gates.GateLSTM(8)).units
    8
    """
    return _exchange(layer_or_model, _KerasOfGate)


def convert(layer_or_model: Layer, to: type) -> Layer:
    """The same layer or model with `GateLSTM(...)` in the place of `keras.layers.RNN(GateLSTMCell(...))`, or the reverse.

    Weights, gates of your own and numbers stay. Weight files are keyed by class, so they move between the two classes only
    through this.

    Args:
        layer_or_model: as for `from_keras`.
        to: `keras_gates.GateLSTM` or `keras.layers.RNN`.

    Raises:
        ValueError: `to` is neither of the two.
        TypeError: nothing to exchange in it, or a subclassed model.

    Example:

    >>> type(keras_gates.convert(keras_gates.GateLSTM(8), to=keras.layers.RNN)).__name__
    'RNN'
    """
    exchanges: dict[type, _Exchange] = {GateLSTM: _WholeOfRNN, RNN: _RNNOfWhole}
    if to not in exchanges:
        raise ValueError(f"convert: `to` must be keras_gates.GateLSTM or keras.layers.RNN, got {to!r}.")
    return _exchange(layer_or_model, exchanges[to])


class _Exchange(Protocol):
    """One kind of exchange: what it looks for, the layer it makes of one that matches (else None), and its weights."""

    what: str

    def rebuild(self, layer: Layer) -> Layer | None: ...

    def weights(self, old: Layer, new: Layer) -> list[np.ndarray]: ...


class _GateOfKeras:
    """`keras.layers.LSTM` and `LSTMCell` to `GateLSTM` and `GateLSTMCell`."""

    what = "keras.layers.LSTM or LSTMCell"

    @staticmethod
    def rebuild(layer: Layer) -> Layer | None:
        if type(layer) is LSTMCell:
            return GateLSTMCell.from_config({**layer.get_config(), "implementation": layer.implementation})
        if type(layer) is LSTM:
            lost = {"use_cudnn": layer.use_cudnn, "implementation": layer.cell.implementation}
            return GateLSTM.from_config({**layer.get_config(), **lost})
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
            found = "the article form" if cell.formulation != "standard" else "a gate of your own"
            raise ValueError(
                f"to_keras: {layer.name} holds {found}, for which Keras has no layer. Only the standard form with plain "
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


class _WholeOfRNN:
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


class _RNNOfWhole:
    """`GateLSTM` to `keras.layers.RNN(GateLSTMCell)`."""

    what = "GateLSTM"

    @staticmethod
    def rebuild(layer: Layer) -> Layer | None:
        if type(layer) is not GateLSTM:
            return None
        outer = RNN.get_config(layer)
        return RNN.from_config({**outer, "activity_regularizer": layer.activity_regularizer})

    weights = _WholeOfRNN.weights


def _exchange(layer_or_model: Layer, kind: _Exchange) -> Layer:
    if isinstance(layer_or_model, keras.Model):
        return _exchange_in_model(layer_or_model, kind)
    new = _rebuild(layer_or_model, kind)
    if new is None:
        raise TypeError(f"Expected {kind.what}, alone or inside a Keras wrapper or model, got {layer_or_model!r}.")
    if layer_or_model.built:
        new.build_from_config(layer_or_model.get_build_config())
        _carry(layer_or_model, new, kind)
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
            _carry(old, new, kind)
    if model.compiled:
        clone_model.compile_from_config(model.get_compile_config())
    return clone_model


def _rebuild(layer: Layer, kind: _Exchange) -> Layer | None:
    """A new layer with the exchange done in it, or None where there is nothing to exchange."""
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
    """The layers inside a Keras wrapper, by attribute."""
    if isinstance(layer, keras.layers.StackedRNNCells):
        return {str(k): cell for k, cell in enumerate(layer.cells)}
    if isinstance(layer, keras.layers.Bidirectional):
        return {"forward_layer": layer.forward_layer, "backward_layer": layer.backward_layer}
    if type(layer) is RNN:
        return {"cell": layer.cell}
    if isinstance(layer, keras.layers.Wrapper):
        return {"layer": layer.layer}
    return {}


def _carry(old: Layer, new: Layer, kind: _Exchange) -> None:
    """Weights, the state of a stateful layer and of the dropout generator, from `old` to the layer made of it."""
    if _is_exchange(old, new, kind):
        new.set_weights(kind.weights(old, new))
        _assign(getattr(old, "cell", old).seed_generator.state, getattr(new, "cell", new).seed_generator.state)
    elif _parts(old):
        for old_part, new_part in zip(_parts(old).values(), _parts(new).values()):
            _carry(old_part, new_part, kind)
    else:
        new.set_weights(old.get_weights())
    for old_state, new_state in zip(_states(old), _states(new)):
        _assign(old_state, new_state)


def _is_exchange(old: Layer, new: Layer, kind: _Exchange) -> bool:
    return type(old) is not type(new) and not isinstance(old, keras.Model)


def _states(layer: Layer) -> list[Any]:
    return keras.tree.flatten(getattr(layer, "states", None) or [])


def _assign(old: Any, new: Any) -> None:
    new.assign(keras.ops.convert_to_numpy(old))
