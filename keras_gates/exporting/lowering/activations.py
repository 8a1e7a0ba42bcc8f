"""Activations that integer kernels lack, made of those that all runtimes have: RELU, TANH, LOGISTIC, MUL, ADD, SUB.

ELU and GELU have no integer kernel in one runtime or another, and softplus as the converter writes it, log(1 + exp(x)), has a
range that 8 bits cannot hold. With t = tanh(|x| / 2), exp(-|x|) is (1 - t) / (1 + t): what remains is a polynomial of t.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_gates.exporting.lowering.masks import Change

# Coefficients of t, t², … by least squares over t in 0…1, and the largest error.
_BELOW_ONE = (1.97834293, -1.76871075, 1.12330877, -0.33381367)  # 2 t / (1 + t) = 1 - exp(-|x|): 9e-4
_LOGARITHM = (0.98663874, -0.40720176, 0.11459554)  # log(1 + t): 9e-4
_MISH = (1.0, -0.97616183, 0.77728071, -0.31549069)  # of 1, v, v², v³: 1 / (1 + v), exact at 0
_STEEPNESS = 0.6
_SOFTSIGN = ((0.225, 2.5), (0.441, 0.6), (0.2653, 0.14), (0.079, 0.015))  # sum of a · tanh(b · x): 6e-3
_NORMAL = (0.66020453, -0.05135089, -0.10885364)  # of t, t³, t⁵, t = tanh(0.6 x): the normal distribution less 0.5


def integer_activation(layer: Any, tflm16: bool = False) -> list[Change]:
    """Return the changes that give a layer, a cell or an operation a form of its activation that integer kernels compute.

    Args:
        layer: A layer with an `activation`, a layer or operation that is one, or any other.
        tflm16: For TFLM in 16 bits, which has no HARD_SWISH there.
    """
    forms = _FORMS | (_FORMS_TFLM16 if tflm16 else {})
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", "")
    if name in forms and activation is getattr(keras.activations, name, None):
        return [(layer, "activation", forms[name])]
    form = forms.get(type(layer).__name__.lower())
    if form is None or not type(layer).__module__.startswith("keras."):
        return []
    arguments = {name: getattr(layer, name) for name in ("alpha", "threshold") if hasattr(layer, name)}
    return [(layer, "call", functools.partial(_called, form, arguments))]


def _called(form: Callable, arguments: dict[str, Any], x: Any, *args: Any, **rest: Any) -> Any:
    return form(x, **arguments)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """Return x above 0, alpha · (exp(x) - 1) below."""
    positive = tf.nn.relu(x)
    return positive - alpha * _polynomial(tf.tanh(0.5 * (positive - x)), _BELOW_ONE)


def selu(x: Any) -> Any:
    """Return the scaled ELU of self-normalizing networks."""
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def softplus(x: Any) -> Any:
    """Return log(1 + exp(x))."""
    positive = tf.nn.relu(x)
    return positive + (math.log(2) - _polynomial(tf.tanh(positive - 0.5 * x), _LOGARITHM))


def log_sigmoid(x: Any) -> Any:
    """Return log(sigmoid(x))."""
    positive = tf.nn.relu(x)
    return (x - positive) + (_polynomial(tf.tanh(positive - 0.5 * x), _LOGARITHM) - math.log(2))


def mish(x: Any) -> Any:
    """Return x · tanh(log(1 + exp(x)))."""
    below = tf.sigmoid(x * -1.0)  # NEG has no integer kernel
    square = below * below
    return x * ((1.0 - square) * _horner(square, _MISH))  # (1 - v) / (1 + v), 0 at 1


def gelu(x: Any, approximate: bool = False) -> Any:
    """Return x times the normal distribution's probability of values below x."""
    t = tf.tanh(_STEEPNESS * x)
    return x * (0.5 + t * _horner(t * t, _NORMAL))


def hard_silu(x: Any) -> Any:
    """Return x times a line from 0 at -3 to 1 at 3; not as a product with RELU6, of which the converter makes HARD_SWISH."""
    line = x * (1 / 6)
    return x * (tf.nn.relu(line + 0.5) - tf.nn.relu(line - 0.5))


def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """Return x nearer to 0 by the threshold, 0 within it."""
    return tf.nn.relu(x - threshold) - tf.nn.relu(x * -1.0 - threshold)


def tanh_shrink(x: Any) -> Any:
    """Return x - tanh(x)."""
    return x - tf.tanh(x)


def softsign(x: Any) -> Any:
    """Return x / (1 + |x|)."""
    parts = [height * tf.tanh(slope * x) for height, slope in _SOFTSIGN]
    return (parts[0] + parts[1]) + (parts[2] + parts[3])


def _polynomial(t: Any, coefficients: Sequence[float]) -> Any:
    return t * _horner(t, coefficients)


def _horner(t: Any, coefficients: Sequence[float]) -> Any:
    """Return c₀ + c₁ t + c₂ t² + …"""
    result = t * coefficients[-1] + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        result = result * t + coefficient
    return result


_FORMS: dict[str, Callable] = {
    "elu": elu, "celu": elu, "selu": selu, "softplus": softplus, "log_sigmoid": log_sigmoid, "logsigmoid": log_sigmoid,
    "mish": mish, "gelu": gelu, "soft_shrink": soft_shrink, "softshrink": soft_shrink, "tanh_shrink": tanh_shrink,
    "tanhshrink": tanh_shrink, "softsign": softsign,
}  # fmt: skip
_FORMS_TFLM16: dict[str, Callable] = {"hard_silu": hard_silu, "hardsilu": hard_silu}
