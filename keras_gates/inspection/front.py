"""What a model computes before a recurrent layer, kept, so that many passes through the rest do not repeat it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from keras_gates._compat import flatten_layers
from keras_gates._patch import patched


class Front:
    """The results of the layers that ran, once, before a recurrent layer.

    Args:
        model: A Keras model. Its direct layers are considered, those with a recurrent layer inside are not.
    """

    def __init__(self, model: keras.layers.Layer) -> None:
        inside = flatten_layers(model, include_self=False, recursive=False)
        self.layers = [
            layer for layer in inside if not any(isinstance(x, keras.layers.RNN) for x in flatten_layers(layer))
        ]
        self.results: dict[int, Any] = {}
        self.calls: dict[int, int] = {}
        self.complete = False

    def end(self) -> None:
        """Keep nothing of what runs from now on."""
        self.complete = True

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record the results of the layers during one forward pass in this block, up to `end`."""

        def recording(layer: Any) -> Callable:
            own = layer.call

            def call(*args: Any, **kwargs: Any) -> Any:
                result = own(*args, **kwargs)
                self.calls[id(layer)] = self.calls.get(id(layer), 0) + 1
                if not self.complete:
                    self.results[id(layer)] = result
                return result

            return call

        with self._replaced(recording, self.layers):
            yield

    def arrays(self) -> list[Any]:
        """Return the recorded results as a list of tensors."""
        return keras.tree.flatten(list(self.results.values()))

    @contextmanager
    def kept(self, copies: int = 1) -> Iterator[None]:
        """Return the recorded results in the place of the layers' calls in this block.

        Args:
            copies: How often the model's input is repeated along its first axis in this block.
        """
        known = [layer for layer in self.layers if id(layer) in self.results and self.calls[id(layer)] == 1]

        def repeated(tensor: Any) -> Any:
            return tensor if copies == 1 else ops.tile(tensor, (copies,) + (1,) * (len(tensor.shape) - 1))

        def result_of(layer: Any) -> Callable:
            return lambda *args, **kwargs: keras.tree.map_structure(repeated, self.results[id(layer)])

        with self._replaced(result_of, known):
            yield

    @staticmethod
    @contextmanager
    def _replaced(make: Callable[[Any], Callable], layers: list[Any]) -> Iterator[None]:
        owner = threading.get_ident()  # other threads that call the model meanwhile get the layers' own calls

        def for_owner(layer: Any) -> Callable:
            own, other = layer.call, make(layer)
            return lambda *args, **kwargs: (other if threading.get_ident() == owner else own)(*args, **kwargs)

        with patched([(layer, "call", for_owner(layer)) for layer in layers]):
            yield
