"""Gradients of a score with respect to arrays that are no weights, by the backend's own differentiation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.inspection.inputs import to_numpy

# `(values, place)` -> `(sum of the scores, the scores)`, tensors; `place` is a number, an array or a tuple of them
Score = Callable[[list[Any], Any], tuple[Any, Any]]
# `(values, place)` -> `(the scores, the sum's gradient with respect to each value, or None)`, tensors
TensorGradients = Callable[[list[Any], Any], tuple[Any, list[Any]]]


def gradients_of(
    score: Score, compiled: bool = True
) -> Callable[[list[np.ndarray], Any], tuple[np.ndarray, list[np.ndarray]]]:
    """Return a function that computes a score and its gradients.

    Args:
        score: Called with tensors and a place, where the score is computed; returns the sum of the scores, a scalar, and the
            scores, `(batch,)`.
        compiled: Whether JAX compiles the score; a score that computes in NumPy cannot be compiled.

    Returns:
        A function of a list of arrays and a place. It returns the scores, `(batch,)`, and for each array the gradient of
        their sum with respect to it; zeros where the score does not depend on the array.
    """
    by_backend = {"tensorflow": _by_tape, "jax": _by_compiled_jax if compiled else _by_jax, "torch": _by_torch}
    differentiate = by_backend[keras.backend.backend()](score)

    def gradients(values: list[np.ndarray], place: Any) -> tuple[np.ndarray, list[np.ndarray]]:
        scores, by_value = differentiate([ops.convert_to_tensor(value) for value in values], place)
        return to_numpy(scores), [np.zeros_like(v) if g is None else to_numpy(g) for g, v in zip(by_value, values)]

    return gradients


def _by_tape(score: Score) -> TensorGradients:
    import tensorflow as tf

    def differentiate(values: list[Any], place: Any) -> tuple[Any, list[Any]]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            total, scores = score(values, place)
        return scores, tape.gradient(total, values)

    return differentiate


def _by_compiled_jax(score: Score) -> TensorGradients:
    import jax

    return _by_jax(score, jax.jit)


def _by_jax(score: Score, compile_function: Callable = lambda function: function) -> TensorGradients:
    import jax

    def stateless(values: list[Any], place: Any) -> tuple[Any, Any]:
        with keras.StatelessScope():  # JAX must not see variables change inside a compiled function
            return score(values, place)

    compiled = compile_function(jax.value_and_grad(stateless, has_aux=True))

    def differentiate(values: list[Any], place: Any) -> tuple[Any, list[Any]]:
        (_, scores), by_value = compiled(values, place)
        return scores, by_value

    return differentiate


def _by_torch(score: Score) -> TensorGradients:
    import torch

    def differentiate(values: list[Any], place: Any) -> tuple[Any, list[Any]]:
        values = [value.requires_grad_(True) for value in values]
        total, scores = score(values, place)
        return scores, list(torch.autograd.grad(total, values, allow_unused=True))

    return differentiate
