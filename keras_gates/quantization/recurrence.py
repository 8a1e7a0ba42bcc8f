"""The integer LSTM operator over a sequence: int8 or int16 hidden state, int16 cell state and gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_gates._compat import backend_rnn
from keras_gates.quantization.arithmetic import (
    clipped,
    looked_up,
    narrow,
    nearest,
    product,
    rescaled,
    rescaled64,
    straight,
    wide,
)
from keras_gates.quantization.numbers import Scale, bias_numbers, weight_numbers
from keras_gates.quantization.tables import gate_table

GATES = 4  # ignore, forget, candidate, use, the order of columns


@dataclass(frozen=True)
class LSTMScales:
    """Scales of one LSTM.

    Attributes:
        x: of its input.
        hidden: of its hidden state, which is its output.
        cell: a power of two.
        arithmetic: "litert" or "tflm", whose roundings and tables are computed.
    """

    x: Scale
    hidden: Scale
    cell: float
    arithmetic: str = "litert"


@dataclass(frozen=True)
class LSTMNumbers:
    """The integers that a file holds for one LSTM, as tensors; columns ignore, forget, candidate, use.

    Attributes:
        kernel, recurrent_kernel: whole numbers in float32.
        bias: whole numbers in float64, without zero points.
        kernel_scales, recurrent_scales: per column, equal within a gate.
    """

    kernel: Any
    recurrent_kernel: Any
    bias: Any
    kernel_scales: Any
    recurrent_scales: Any


def lstm_numbers(kernel: Any, recurrent_kernel: Any, bias: Any, scales: LSTMScales, bits: int) -> LSTMNumbers:
    """Return the integers of an LSTM's weights.

    Args:
        kernel: Tensor `(features, 4 * units)`.
        recurrent_kernel: Tensor `(units, 4 * units)`.
        bias: Tensor `(4 * units,)`, or None.
        scales: Of its activations.
        bits: Of its weights, 8 or 4.
    """
    k, k_scales = weight_numbers(kernel, bits, GATES)
    r, r_scales = weight_numbers(recurrent_kernel, bits, GATES)
    b = wide(ops.zeros_like(k_scales)) if bias is None else bias_numbers(bias, k_scales * scales.x.scale)
    return LSTMNumbers(k, r, b, k_scales, r_scales)


def run(
    numbers: LSTMNumbers, scales: LSTMScales, events: Any, states: list[Any], exact: bool, **options: Any
) -> tuple[Any, Any, list[Any]]:
    """Run a sequence.

    Args:
        numbers: Integers of the weights.
        scales: Of the activations.
        events: int8 or int16 numbers in float32, `(batch, time, features)`.
        states: Hidden and cell state, reals `(batch, units)`.
        exact: Every rounding of the kernels and their tables; else float sums and activations, each rounded once.
        **options: Of Keras' loop over time: mask, go_backwards, unroll, zero_output_for_mask, return_all_outputs.

    Returns:
        The last output, every output and the last states, in reals.
    """
    units = numbers.recurrent_kernel.shape[0]
    tflm = exact and scales.arithmetic == "tflm"
    seen = wide if tflm else narrow  # LiteRT multiplies scales in float32, TFLM in float64
    k_factor = seen(numbers.kernel_scales) * scales.x.scale * 4096.0
    r_factor = seen(numbers.recurrent_scales) * scales.hidden.scale * 4096.0
    fraction = -round(float(np.log2(scales.cell)))
    ratio = 2.0**-30 / scales.hidden.scale
    ratio = ratio if tflm else float(np.float32(ratio))
    zero = float(scales.hidden.zero)
    k_bias = numbers.bias - scales.x.zero * wide(ops.sum(numbers.kernel, axis=0))
    r_bias = -zero * wide(ops.sum(numbers.recurrent_kernel, axis=0))
    if not exact:
        k_bias, r_bias = narrow(k_bias), narrow(r_bias)

    rescaled_sum = rescaled64 if scales.x.bits == 16 else rescaled

    def gate_inputs(x: Any, weights: Any, bias: Any, factor: Any) -> tuple[Any, Any]:
        """Return sums in Q3.12, as the operator rounds them and unrounded."""
        total = product(x, weights, exact, scales.x.bits) + bias
        soft = narrow(total) * narrow(factor)
        return (narrow(rescaled_sum(total, wide(factor))) if exact else soft), soft

    def activation(kind: str, x: Any, whole: int) -> Any:
        function = ops.sigmoid if kind == "sigmoid" else ops.tanh
        soft = function(x * 2.0 ** (whole - 15)) * 32768.0
        if exact:
            return straight(looked_up(x, gate_table(kind, whole, scales.arithmetic)), soft)
        return straight(ops.minimum(nearest(soft), 32767.0), soft)

    def halved(hard: Any, places: int) -> Any:
        """Return a product of integers divided by 2^places: to the nearest, by TFLM rounded twice."""
        return narrow(rescaled(hard, wide(2.0**-places)) if tflm else nearest(hard * 2.0**-places))

    hard, soft = gate_inputs(events, numbers.kernel, k_bias, k_factor)
    projected = straight(clipped(hard, 16), clipped(soft, 16))

    precise = wide if exact else narrow

    def step(a: Any, before: list[Any]) -> tuple[Any, list[Any]]:
        h, c = before
        hard, soft = gate_inputs(h, numbers.recurrent_kernel, r_bias, r_factor)
        hard = clipped(hard, 16) if tflm else hard
        gates = straight(clipped(nearest(a + hard), 16), clipped(a + soft, 16))
        i, f, _, o = ops.split(activation("sigmoid", gates, 3), GATES, axis=-1)  # all four: fewer operations
        g = activation("tanh", gates[..., 2 * units : 3 * units], 3)
        kept, added = halved(precise(f) * precise(c), 15), halved(precise(i) * precise(g), 30 - fraction)
        added = clipped(added, 16) if tflm else added
        soft = f * c * 2.0**-15 + i * g * 2.0 ** (fraction - 30)
        c = straight(clipped(kept + added, 16), clipped(soft, 16))
        t = activation("tanh", c, 15 - fraction)
        used = precise(o) * precise(t)
        hard = rescaled(used, wide(ratio)) if exact else nearest(used * ratio)
        h = straight(narrow(clipped(hard + zero, scales.hidden.bits)), o * t * ratio + zero)
        return scales.hidden.reals(h), [h, c]

    stm, ltm = states
    h = scales.hidden.numbers(stm, rounded=True, clip=True)
    c = clipped(nearest(narrow(ltm) * 2.0**fraction), 16)
    last, outputs, (h, c) = backend_rnn()(step, projected, [h, c], **options)
    return last, outputs, [scales.hidden.reals(h), c * scales.cell]
