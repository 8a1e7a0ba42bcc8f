"""A float model without the layers that an integer file has not: normalizations folded into weights, ReLU into activations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_gates._compat import functional_graph
from keras_gates._errors import InvalidArgument
from keras_gates.layers.cell import GateLSTMCell

_PASSING = (
    "Dropout",
    "SpatialDropout1D",
    "GaussianNoise",
    "GaussianDropout",
    "ActivityRegularization",
    "Identity",
    "Folded",
)
_LINEAR = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.DepthwiseConv1D)
Affine = tuple[np.ndarray, np.ndarray]  # factor and shift of every channel


@keras.saving.register_keras_serializable("keras_gates")
class Folded(keras.layers.Layer):
    """In the place of a layer that became part of another one's weights: returns its input.

    (A normalization may be called with a mask, which `keras.layers.Identity` does not take.)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return the input."""
        return inputs

    def compute_output_shape(self, input_shape: Any, *_: Any) -> Any:
        """Return the input's shape."""
        return input_shape


def folded(model: keras.Model) -> keras.Model:
    """Return a model with the same outputs, without BatchNormalization, Normalization and ReLU layers behind the first layer.

    A normalization goes into the weights of the linear layer before it or of the layers after it; one that reads the model's
    input stays, since a file leaves it outside.

    Args:
        model: A functional or sequential model. It is not changed, and returned if it has no such layers.

    Raises:
        InvalidArgument: A normalization stands where it cannot be folded.
    """
    graph = functional_graph(model)
    maker = {id(x): layer for layer in graph.layers for x in keras.tree.flatten(layer.output)}
    readers: dict[int, list[keras.layers.Layer]] = {key: [] for key in maker}
    for layer in graph.layers:
        for x in _inputs(layer)[:1]:
            readers.setdefault(id(x), []).append(layer)
    outputs = {id(x) for x in graph.outputs}
    gone: set[str] = set()
    config: dict[str, dict[str, Any]] = {}
    changes: list[tuple[str, Callable[[keras.layers.Layer], None]]] = []
    for layer in graph.layers:
        is_relu = _is_relu(layer)
        affine = None if is_relu else _affine(layer)
        if (affine is None and not is_relu) or any(x is y for x in _inputs(layer) for y in graph.inputs):
            continue
        before = _before(layer, maker, readers, outputs)
        activation = None if before is None else config.get(before.name, {}).get("activation") or before.activation
        if before is not None and activation is keras.activations.linear:
            if affine is None:
                config.setdefault(before.name, {})["activation"] = keras.activations.relu
            else:
                config.setdefault(before.name, {})["use_bias"] = True
                changes.append((before.name, partial(_scale_outputs, affine=affine)))
        elif affine is None:
            raise InvalidArgument(
                f"quantize_aware: {layer.name} ({type(layer).__name__}) comes after a layer that cannot end in a ReLU; put it "
                "directly behind a Dense or convolution layer without activation."
            )
        else:
            after = _after(layer, readers, outputs)
            if not after:
                raise InvalidArgument(
                    f"quantize_aware: {layer.name} ({type(layer).__name__}) cannot become part of a layer's weights; put it "
                    "directly behind a Dense or convolution layer without activation, or directly before LSTM or Dense layers."
                )
            for each in after:
                if not isinstance(each, keras.layers.Bidirectional):
                    config.setdefault(each.name, {})["use_bias"] = True
                changes.append((each.name, partial(_scale_inputs, affine=affine)))
        gone.add(layer.name)
    return _rebuilt(model, gone, config, changes) if gone else model


def _rebuilt(
    model: keras.Model, gone: set[str], config: dict[str, dict], changes: list[tuple[str, Callable]]
) -> keras.Model:
    def again(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name in gone:
            return Folded(name=layer.name)
        new = layer.get_config()
        for key, value in config.get(layer.name, {}).items():
            new[key] = keras.activations.serialize(value) if key == "activation" else value
        if isinstance(layer, keras.layers.Bidirectional) and any(name == layer.name for name, _ in changes):
            for direction in ("layer", "backward_layer"):
                new[direction]["config"]["use_bias"] = True
        return type(layer).from_config(new)

    new = keras.models.clone_model(model, clone_function=again)
    old_layers = {layer.name: layer for layer in functional_graph(model).layers}
    for layer in functional_graph(new).layers:
        old = old_layers[layer.name]
        if layer.name not in gone and layer.weights:
            _copy(old, layer)
    for name, change in changes:
        change(new.get_layer(name))
    return new


def _copy(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Copy weights by path; a bias that the old layer has not becomes zero."""
    values = {_place(weight, old): keras.ops.convert_to_numpy(weight) for weight in old.weights}
    for weight in new.weights:
        weight.assign(values.get(_place(weight, new), np.zeros(weight.shape)))
    if hasattr(new, "finalize_state"):
        new.finalize_state()


def _place(weight: Any, layer: keras.layers.Layer) -> str:
    """Return the weight's path within its layer."""
    return str(weight.path).split(f"{layer.name}/", 1)[-1]


def _inputs(layer: keras.layers.Layer) -> list[Any]:
    return [] if isinstance(layer, keras.layers.InputLayer) else keras.tree.flatten(layer.input)


def _before(layer: Any, maker: dict, readers: dict, outputs: set[int]) -> Any:
    """Return the linear layer before another one, with nothing but dropout between; None if it is none or others read it."""
    while True:
        x = _inputs(layer)[0]
        layer = maker.get(id(x))
        if layer is None or len(readers[id(x)]) > 1 or id(x) in outputs:
            return None
        if isinstance(layer, _LINEAR):
            return layer if type(layer) in _LINEAR else None
        if type(layer).__name__ not in _PASSING and not _is_folded(layer):
            return None


def _is_folded(layer: keras.layers.Layer) -> bool:
    return _is_relu(layer) or type(layer) is keras.layers.BatchNormalization


def _after(layer: Any, readers: dict, outputs: set[int]) -> list[Any]:
    """Return the layers that read what a layer returns; empty if one of them has no weights for it."""
    found: list[Any] = []
    for x in keras.tree.flatten(layer.output):
        if id(x) in outputs:
            return []
        for reader in readers[id(x)]:
            if type(reader).__name__ in _PASSING:
                more = _after(reader, readers, outputs)
                if not more:
                    return []
                found += more
            elif _takes_factors(reader):
                found.append(reader)
            else:
                return []
    return found


def _takes_factors(layer: keras.layers.Layer) -> bool:
    padded = getattr(layer, "padding", "valid") != "valid"  # zeros of the padding would get the shift
    return (type(layer) in (keras.layers.Dense, keras.layers.Conv1D) and not padded) or bool(_cells(layer))


def _cells(layer: keras.layers.Layer) -> list[Any]:
    parts = [layer.forward_layer, layer.backward_layer] if isinstance(layer, keras.layers.Bidirectional) else [layer]
    cells = [getattr(part, "cell", None) for part in parts]
    known = all(
        type(cell) in (GateLSTMCell, keras.layers.LSTMCell) and getattr(cell, "is_plain", True) for cell in cells
    )
    return cells if known else []


def _is_relu(layer: keras.layers.Layer) -> bool:
    if type(layer) is keras.layers.ReLU:
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return type(layer) is keras.layers.Activation and layer.activation is keras.activations.relu


def _affine(layer: keras.layers.Layer) -> Affine | None:
    """Return by what a normalization multiplies and what it adds, per channel of the last axis."""
    if type(layer) is keras.layers.BatchNormalization and layer.axis in (-1, len(layer.input.shape) - 1):
        factor = 1.0 / np.sqrt(_array(layer.moving_variance) + layer.epsilon)
        factor = factor * _array(layer.gamma) if layer.scale else factor
        shift = -_array(layer.moving_mean) * factor
        return factor, shift + _array(layer.beta) if layer.center else shift
    if type(layer) is keras.layers.Normalization and not layer.invert:
        mean, variance = np.ravel(_array(layer.mean)), np.ravel(_array(layer.variance))
        if mean.size in (1, layer.input.shape[-1]):
            factor = np.broadcast_to(
                1.0 / np.maximum(np.sqrt(variance), keras.backend.epsilon()), layer.input.shape[-1:]
            )
            return factor, -mean * factor
    return None


def _scale_outputs(layer: keras.layers.Layer, affine: Affine) -> None:
    factor, shift = affine
    kernel = _array(layer.kernel)
    layer.kernel.assign((kernel.reshape(-1, len(factor)) * factor).reshape(kernel.shape))
    layer.bias.assign(_array(layer.bias) * factor + shift)


def _scale_inputs(layer: keras.layers.Layer, affine: Affine) -> None:
    factor, shift = affine
    cells = _cells(layer)
    holders = [each for cell in cells for each in _holders(cell)] or [layer]
    for holder in holders:
        kernel = _array(holder.kernel)
        holder.bias.assign(_array(holder.bias) + (kernel * shift[:, None]).sum(tuple(range(kernel.ndim - 1))))
        holder.kernel.assign(kernel * factor[:, None])


def _holders(cell: Any) -> list[Any]:
    """Return the objects that hold the kernels of a cell."""
    return [cell.learn, cell.forget, cell.use] if isinstance(cell, GateLSTMCell) else [cell]


def _array(weight: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(weight), np.float64)
