"""Running a function the way Keras runs a layer's `call`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


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
