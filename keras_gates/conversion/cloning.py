"""Exchanging recurrent layers in a layer, a wrapper or a model.

Everything is made again in memory, from constructor arguments, then weights are copied.
"""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

import keras
import numpy as np
from keras.layers import Layer

from keras_gates._compat import flatten_layers
from keras_gates._patch import patched
from keras_gates.conversion.arguments import Part, again, arguments_of, compile_like

_IN_INTEGERS = "keras_gates>Quantized"  # registered names of the layers of `keras_gates.quantization`


class Exchange:
    """One kind of exchange.

    Attributes:
        what: the class that it looks for, for errors.
    """

    what = ""

    def rebuild(self, layer: Layer, part: Part) -> Layer | None:
        """Return the new layer without weights, or None if `layer` is not of the class; `part` makes layers in it again."""
        raise NotImplementedError

    def left_alone(self, layer: Layer) -> str:
        """Return why a layer is not exchanged although its class derives from the one that is looked for, or an empty string."""
        return ""

    def weights(self, old: Layer, new: Layer) -> list[np.ndarray]:
        """Return the weights of `old` in the order of `new`."""
        return old.get_weights()


def exchange(layer_or_model: Layer, kind: Exchange) -> Layer:
    """Return the same layer or model with all layers of a kind exchanged.

    Args:
        layer_or_model: a layer, built or not, or a functional or sequential model. It is not changed.
        kind: what to exchange.

    Returns:
        A new layer or model with copies of all variables.

    Raises:
        TypeError: there is nothing to exchange, something in it cannot be made again, or it was trained in integers.
    """
    if not isinstance(layer_or_model, Layer):
        raise TypeError(f"Expected {kind.what}, alone or inside a Keras wrapper or model, got {layer_or_model!r}.")
    names = [keras.saving.get_registered_name(type(layer)) for layer in flatten_layers(layer_or_model)]
    if any(name.startswith(_IN_INTEGERS) for name in names):
        raise TypeError(
            f"{layer_or_model.name} comes from quantize_aware, whose layers compute in integers; expected float layers. Convert "
            "keras_gates.quantization.aware.float_model(model), which has the same weights."
        )
    cloner = _Cloner(kind)
    new = cloner.clone(layer_or_model)
    if not cloner.exchanged:
        left = " ".join(f"{reason}, so it stays as it is." for reason in cloner.left)
        if isinstance(layer_or_model, keras.Model):
            raise TypeError(f"{layer_or_model.name} holds no {kind.what} that could be exchanged. {left}".rstrip())
        what = left or f"got {layer_or_model!r}."
        raise TypeError(f"Expected {kind.what}, alone or inside a Keras wrapper or model, {what}")
    for reason in cloner.left:
        warnings.warn(f"{reason}, so it stays as it is; its gates have no names.", stacklevel=3)
    cloner.copy_variables(layer_or_model, new)
    if isinstance(layer_or_model, keras.Model) and layer_or_model.compiled:
        compile_like(new, layer_or_model)
    return new


class _Cloner:
    """Makes layers and models again, each once, with all layers of a kind exchanged.

    Args:
        kind: what to exchange.

    Attributes:
        exchanged: the new layer of each one that was exchanged, by the old one's identity.
        left: why layers were left alone.
    """

    def __init__(self, kind: Exchange) -> None:
        self.kind = kind
        self.exchanged: dict[int, Layer] = {}
        self.left: list[str] = []
        self._clones: dict[int, Any] = {}

    def clone(self, thing: Any) -> Any:
        """Return a layer, model or operation made again; the same one for a layer that is used twice."""
        if id(thing) not in self._clones:
            self._clones[id(thing)] = self._new(thing)
        return self._clones[id(thing)]

    def _new(self, thing: Any) -> Any:
        if isinstance(thing, keras.Model):
            return self._new_model(thing)
        if isinstance(thing, Layer):
            new = self.kind.rebuild(thing, self.clone)
            if new is not None:
                self.exchanged[id(thing)] = new
                return new
            reason = self.kind.left_alone(thing)
            self.left += [reason] if reason else []
        if type(thing) is keras.layers.Bidirectional:
            return _bidirectional(thing, self.clone)
        return again(thing, self.clone)

    def _new_model(self, model: keras.Model) -> keras.Model:
        if not (isinstance(model, keras.Sequential) or type(model) is keras.Model or hasattr(model, "operations")):
            raise TypeError(
                f"{model.name} is a subclassed model: its call is code that cannot be rebuilt. Convert its layers one by one, or "
                "write it as a functional model."
            )
        # clone_model would compile a compiled model's clone through the config.
        with patched([(model, "compiled", False)]):
            return keras.models.clone_model(model, clone_function=self.clone)

    def copy_variables(self, old: Layer, new: Layer) -> None:
        """Build `new` if `old` is, and give it its weights, its statistics, and the states of its seeds and stateful layers."""
        if new is old:
            return
        if old.built and not new.built:
            new.build_from_config(old.get_build_config())
        if id(old) in self.exchanged:
            if old.built:
                new.set_weights([np.array(weight) for weight in self.kind.weights(old, new)])
            _assign(getattr(old, "cell", old).seed_generator.state, getattr(new, "cell", new).seed_generator.state)
        elif any(id(layer) in self.exchanged for layer in flatten_layers(old)):
            _copy_own(old, new)
            for old_part, new_part in zip(_parts(old), _parts(new)):
                self.copy_variables(old_part, new_part)
        else:
            for old_variable, new_variable in zip(old.variables, new.variables):
                _assign(old_variable, new_variable)
            for old_layer, new_layer in zip(flatten_layers(old), flatten_layers(new)):
                _copy_own(old_layer, new_layer)
        for old_state, new_state in zip(_states(old), _states(new)):
            _assign(old_state, new_state)


def _bidirectional(layer: keras.layers.Bidirectional, part: Part) -> keras.layers.Bidirectional:
    """Return a `Bidirectional` around new layers. Left alone, it would make its forward layer from a config."""
    forward, backward = part(layer.forward_layer), part(layer.backward_layer)

    class Prepared(Layer):
        """Has the config of a layer that is ready."""

        def get_config(self) -> dict:
            return {"name": self.name}

        @classmethod
        def from_config(cls, config: dict) -> Layer:
            return forward

    stand_in: Any = Prepared(name=forward.name)
    for name in ("go_backwards", "stateful", "return_sequences", "return_state", "input_spec", "use_cudnn"):
        if hasattr(forward, name):
            setattr(stand_in, name, getattr(forward, name))
    cudnn = getattr(backward, "use_cudnn", None)
    arguments = arguments_of(layer, lambda inner: inner)
    arguments |= {"layer": stand_in, "backward_layer": backward}
    with keras.saving.custom_object_scope({"Prepared": Prepared}):
        new = keras.layers.Bidirectional(**arguments)
    if cudnn is not None:
        new.backward_layer.use_cudnn = cudnn  # the constructor gives it the forward layer's
    return new


def _parts(layer: Layer) -> list[Layer]:
    """Return the layers directly inside a layer."""
    return list({id(one): one for one in flatten_layers(layer, include_self=False, recursive=False)}.values())


def _copy_own(old: Layer, new: Layer) -> None:
    """Copy what a layer saves besides its parts, by its own methods: they compute from it, or read a file (lookups)."""
    if type(old) is not type(new) or not old.built:
        return
    store: dict[str, Any] = {}
    old.save_own_variables(store)
    new.load_own_variables({name: _copied(value) for name, value in store.items()})
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)


def _states(layer: Layer) -> list[Any]:
    return keras.tree.flatten(getattr(layer, "states", None) or [])


def _assign(old: Any, new: Any) -> None:
    new.assign(_copied(old))


def _copied(value: Any) -> np.ndarray:
    # On a CPU the array may share the variable's memory, which training on JAX gives away.
    return np.array(keras.ops.convert_to_numpy(value))
