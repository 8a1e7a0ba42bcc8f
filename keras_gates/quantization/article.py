"""The article's formulation in integers: the operators of one time step, each of which returns int8 numbers.

No runtime has one operator for it, so a file holds, per gate, a product with the event, one with the hidden state and their
sum, then the activations, and elementwise products and sums of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates._compat import backend_rnn
from keras_gates.layers.standard import weights_of
from keras_gates.quantization.arithmetic import clipped, narrow, nearest, product, rescaled, straight, wide
from keras_gates.quantization.layers import LayerNumbers, array_of, whole_of
from keras_gates.quantization.numbers import Scale, bias_numbers, weight_numbers
from keras_gates.quantization.recurrence import GATES, LSTMScales
from keras_gates.quantization.recurrent import QuantizedRecurrence
from keras_gates.quantization.tables import byte_table

_HEADROOM = 2.0**20  # of a sum's operands
SIGMOID, TANH = Scale(2.0**-8, -128), Scale(2.0**-7, 0)  # by the operators' specification
# What has a scale of its own besides input, hidden and cell: per gate the products and their sum, and what follows.
OF_GATES = tuple(f"{name}_{gate}" for gate in range(GATES) for name in ("event", "stm", "sum"))
OF_STEP = (*OF_GATES, "learned", "kept", "source")


def added(a: Any, b: Any, of_a: Scale, of_b: Scale, target: Scale, exact: bool) -> Any:
    """Return the sum of two int8 tensors as the kernel ADD computes it.

    Args:
        a, b: int8 numbers in float32.
        of_a, of_b: Their scales.
        target: Scale of the sum.
        exact: Every rounding of the kernel, else one.
    """
    x, y = a - float(of_a.zero), b - float(of_b.zero)
    soft = x * (of_a.scale / target.scale) + y * (of_b.scale / target.scale)
    if not exact:
        return _int8(nearest(soft), soft, target)
    twice = 2.0 * max(of_a.scale, of_b.scale)
    parts = [rescaled(wide(z) * _HEADROOM, wide(of.scale / twice)) for z, of in ((x, of_a), (y, of_b))]
    return _int8(rescaled(parts[0] + parts[1], wide(twice / (_HEADROOM * target.scale))), soft, target)


def multiplied(a: Any, b: Any, of_a: Scale, of_b: Scale, target: Scale, arithmetic: str, exact: bool) -> Any:
    """Return the product of two int8 tensors as the kernel MUL computes it; arguments as in `added`."""
    x, y = a - float(of_a.zero), b - float(of_b.zero)
    real = of_a.scale * of_b.scale / target.scale
    if arithmetic == "litert":  # which multiplies the scales in float32
        real = float(np.float32(np.float32(of_a.scale) * np.float32(of_b.scale)) / np.float32(target.scale))
    soft = x * y * real
    return _int8(rescaled(wide(x) * wide(y), wide(real)) if exact else nearest(soft), soft, target)


def _int8(hard: Any, soft: Any, target: Scale) -> Any:
    zero = float(target.zero)
    return straight(narrow(clipped(hard + zero, 8)), clipped(soft + zero, 8))


@keras.saving.register_keras_serializable("keras_gates")
class QuantizedArticleLSTM(QuantizedRecurrence):
    """A `GateLSTM` of the article's formulation; scales: "input", "hidden", "cell", and those of `OF_STEP`."""

    def parts(self) -> list[tuple[keras.layers.RNN, LSTMScales]]:
        return [(self.layer, self.scales_with("cell"))]

    def scales_with(self, cell: str) -> LSTMScales:
        """Return the scales of the states; that of the cell state has a zero point, which `Step` reads by itself."""
        return LSTMScales(self.scale_of("input"), self.scale_of("hidden"), self.scale_of(cell).scale, self.arithmetic)

    def _loop(self, part: keras.layers.RNN, scales: LSTMScales) -> Callable:
        def loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> tuple:
            step = Step(self, self.is_exact(training))
            h, c = initial_state
            states = [step.hidden.numbers(h, rounded=True, clip=True), step.cell.numbers(c, rounded=True, clip=True)]
            last, outputs, (h, c) = backend_rnn()(
                step,
                step.projected(self.input_numbers(sequences, training)),
                states,
                unroll=part.unroll,
                return_all_outputs=part.return_sequences,
            )
            return last, outputs, [step.hidden.reals(h), step.cell.reals(c)]

        return loop

    def file_numbers(self) -> list[LayerNumbers]:
        """Return kernels and biases by operator, event_0, stm_0, …, kept, and the scales of what they return."""
        step = Step(self, True)
        constants: dict[str, np.ndarray] = {}
        scales: dict[str, np.ndarray] = {}
        kernels: dict[str, np.ndarray] = {}
        rows = (
            ("event", step.kernel, step.floats[0], step.bias, "input"),
            ("stm", step.recurrent_kernel, step.floats[1], None, ""),
            ("source", step.kept_kernel, step.floats[2], step.kept_bias, "kept"),
        )
        for kind, (numbers, of_kernel), kernel, bias, source in rows:
            names = [kind] if kind == "source" else [f"{kind}_{gate}" for gate in range(GATES)]
            for gate, name in enumerate(names):
                columns = slice(gate * step.units, (gate + 1) * step.units)
                constants[name], scales[name] = whole_of(numbers, np.int8)[:, columns].T, array_of(of_kernel)[columns]
                kernels[name] = array_of(kernel)[:, columns]
                if bias is not None:
                    constants[f"{name}_bias"] = whole_of(bias, np.int32)[columns]
                    scales[f"{name}_bias"] = scales[name] * np.float32(self.scale_of(source).scale)
        activations = {name: self.scale_of(name) for name in (*OF_STEP, "cell")}
        return [
            LayerNumbers(
                self.name, "article", None, self.scale_of("input"), self.scale_of("hidden"), constants, scales,
                kernels=kernels, activations=activations,
            )
        ]  # fmt: skip


class Step:
    """One time step, for Keras' loop over time.

    Args:
        layer: The layer, whose weights and scales are read now.
        exact: Every rounding of the kernels; else float sums and activations, each rounded once.
    """

    def __init__(self, layer: QuantizedArticleLSTM, exact: bool) -> None:
        self.exact, self.arithmetic = exact, layer.arithmetic
        self.of = {name: layer.scale_of(name) for name in ("input", "hidden", "cell", *OF_STEP)}
        self.hidden, self.cell = self.of["hidden"], self.of["cell"]
        use = layer.layer.cell.use
        kernel, recurrent_kernel, bias = weights_of(layer.layer.cell)
        kept_kernel = ops.convert_to_tensor(use.kept_kernel)
        kept_bias = ops.zeros(kept_kernel.shape[1]) if bias is None else ops.convert_to_tensor(use.kept_bias)
        bias = ops.zeros(kernel.shape[1]) if bias is None else bias
        self.units = recurrent_kernel.shape[0]
        self.floats = (kernel, recurrent_kernel, kept_kernel)
        bits = layer.weight_bits
        self.kernel, self.recurrent_kernel, self.kept_kernel = (
            weight_numbers(weight, bits, groups=weight.shape[1]) for weight in (kernel, recurrent_kernel, kept_kernel)
        )
        self.bias = bias_numbers(bias, self.kernel[1] * self.of["input"].scale)
        self.kept_bias = bias_numbers(kept_bias, self.kept_kernel[1] * self.of["kept"].scale)

    def projected(self, events: Any) -> Any:
        """Return what the events add to the gates, int8 numbers `(batch, time, 4 * units)`."""
        return self._dense(events, "input", self.kernel, self.bias, [f"event_{gate}" for gate in range(GATES)])

    def __call__(self, event: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """Return the hidden state in reals, and both states.

        Args:
            event: What the event adds to the gates, of `projected`.
            states: Hidden and cell state, int8 numbers `(batch, units)`.
        """
        h, c = states
        names = [f"stm_{gate}" for gate in range(GATES)]
        recurrent = self._dense(h, "hidden", self.recurrent_kernel, None, names)
        parts = zip(ops.split(event, GATES, axis=-1), ops.split(recurrent, GATES, axis=-1))
        sums = [
            added(a, b, self.of[f"event_{gate}"], self.of[f"stm_{gate}"], self.of[f"sum_{gate}"], self.exact)
            for gate, (a, b) in enumerate(parts)
        ]
        kinds = ("sigmoid", "sigmoid", "tanh", "sigmoid")
        i, f, n, v = (self._activated(kind, x, f"sum_{gate}") for gate, (kind, x) in enumerate(zip(kinds, sums)))
        learned = self._multiplied(n, i, TANH, SIGMOID, "learned")
        kept = self._multiplied(c, f, self.cell, SIGMOID, "kept")
        u = self._activated("tanh", self._dense(kept, "kept", self.kept_kernel, self.kept_bias, ["source"]), "source")
        c = added(kept, learned, self.of["kept"], self.of["learned"], self.cell, self.exact)
        h = self._multiplied(u, v, TANH, SIGMOID, "hidden")
        return self.hidden.reals(h), [h, c]

    def _dense(self, x: Any, source: str, kernel: tuple[Any, Any], bias: Any, targets: list[str]) -> Any:
        """Return products as FULLY_CONNECTED computes them, each part of the columns in a scale of its own."""
        numbers, scale = kernel
        total = product(x - float(self.of[source].zero), numbers, self.exact)
        if bias is not None:
            total = total + (bias if self.exact else narrow(bias))
        size = numbers.shape[1] // len(targets)
        target = np.repeat([self.of[name].scale for name in targets], size)
        zero = np.repeat([float(self.of[name].zero) for name in targets], size)
        real = wide(scale) * self.of[source].scale / wide(target)
        soft = narrow(total) * narrow(real)
        if not self.exact:
            hard = nearest(soft)
        else:  # LiteRT's reference kernel multiplies in double, and rounds once
            hard = rescaled(total, real) if self.arithmetic == "tflm" else nearest(total * real)
        return straight(narrow(clipped(narrow(hard) + narrow(zero), 8)), clipped(soft + narrow(zero), 8))

    def _multiplied(self, a: Any, b: Any, of_a: Scale, of_b: Scale, target: str) -> Any:
        return multiplied(a, b, of_a, of_b, self.of[target], self.arithmetic, self.exact)

    def _activated(self, kind: str, x: Any, source: str) -> Any:
        function, target = (ops.sigmoid, SIGMOID) if kind == "sigmoid" else (ops.tanh, TANH)
        of = self.of[source]
        soft = function(of.reals(x)) * (1.0 / target.scale)
        if not self.exact:
            return _int8(nearest(soft), soft, target)
        table = ops.convert_to_tensor(byte_table(kind, of.scale, of.zero, self.arithmetic))
        return straight(ops.take(table, ops.cast(x, "int32") + 128), clipped(soft + float(target.zero), 8))
