"""Embedding, dense layer, convolutions and averages in integers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.quantization.arithmetic import clipped, narrow, nearest, product, rescaled, rescaled64, straight, wide
from keras_gates.quantization.layers import LayerNumbers, QuantizedLayer, array_of, whole_of
from keras_gates.quantization.numbers import Scale, bias_numbers, weight_numbers

FINAL_ACTIVATIONS = ("softmax", "sigmoid")  # computed after the last integers


@keras.saving.register_keras_serializable("keras_gates")
class QuantizedEmbedding(QuantizedLayer):
    """An embedding whose table is int8; scales: "output"."""

    def call(self, inputs: Any) -> Any:
        """Look up the rounded vectors."""
        scale = self.scale_of("output")
        return scale.reals(ops.take(self._table(), ops.cast(inputs, "int32"), axis=0))

    def _table(self) -> Any:
        return self.scale_of("output").numbers(ops.convert_to_tensor(self.layer.embeddings), rounded=True, clip=True)

    def file_numbers(self) -> list[LayerNumbers]:
        """Return the table."""
        table, scale = whole_of(self._table(), np.int8), self.scale_of("output")
        return [LayerNumbers(self.name, "embedding", array_of(self.layer.embeddings), None, scale, {"table": table})]


class QuantizedSums(QuantizedLayer):
    """A layer of sums of products with a weight scale per output; scales: "input", "output" (before softmax or sigmoid)."""

    kind: str

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Run the layer."""
        sums = self.sums(inputs, training)
        return self.layer.activation(sums) if self.activation in FINAL_ACTIVATIONS else sums

    def sums(self, inputs: Any, training: bool | None = None) -> Any:
        """Return the layer's last integers as reals: its output, or what softmax or sigmoid is computed of."""
        exact = self.is_exact(training)
        source, target = self.scale_of("input"), self.scale_of("output")
        kernel, scale = self._kernel()
        total = self.totals(self.input_numbers(inputs, training) - float(source.zero), kernel, exact)
        bias = self._bias(scale)
        total = total + (bias if exact else narrow(bias))
        real = wide(scale) * source.scale / target.scale
        soft = narrow(total) * narrow(real) + float(target.zero)
        hard = (self.rescaled(total, real) if exact else nearest(narrow(total) * narrow(real))) + float(target.zero)
        most = 2.0 ** (target.bits - 1) - 1.0
        low = float(target.zero) if self.activation == "relu" else -most - 1.0
        return target.reals(straight(narrow(ops.clip(hard, low, most)), ops.clip(soft, low, most)))

    def totals(self, x: Any, kernel: Any, exact: bool) -> Any:
        """Return the sums of products of whole numbers, `(…, outputs)`.

        Args:
            x: Input less its zero point, `(batch, …)`.
            kernel: `(inputs, outputs)`.
            exact: Whether in float64 where float32 could round.
        """
        raise NotImplementedError

    def rescaled(self, total: Any, real: Any) -> Any:
        """Return the sums in steps of the output."""
        return rescaled64(total, real) if self.activation_bits == 16 else rescaled(total, real)

    def flat_kernel(self) -> Any:
        """Return the layer's kernel as a tensor `(inputs, outputs)`."""
        return ops.convert_to_tensor(self.layer.kernel)

    def file_kernel(self, kernel: np.ndarray) -> np.ndarray:
        """Return the integers of the kernel in the order of the file."""
        return kernel.T

    @property
    def activation(self) -> str:
        """Name of the layer's activation."""
        return str(self.layer.activation.__name__)

    def _kernel(self) -> tuple[Any, Any]:
        kernel = self.flat_kernel()
        return weight_numbers(kernel, self.weight_bits, groups=kernel.shape[1])

    def _bias(self, scale: Any) -> Any:
        if self.layer.bias is None:
            return wide(ops.zeros_like(scale))
        return bias_numbers(ops.convert_to_tensor(self.layer.bias), scale * self.scale_of("input").scale)

    def file_numbers(self) -> list[LayerNumbers]:
        """Return kernel and bias."""
        kernel, scale = self._kernel()
        scale_array, source = array_of(scale), self.scale_of("input")
        constants = {
            "kernel": self.file_kernel(whole_of(kernel, np.int8)),
            "bias": whole_of(self._bias(scale), np.int32 if self.activation_bits == 8 else np.int64),
        }
        scales = {"kernel": scale_array, "bias": scale_array * np.float32(source.scale)}
        real = array_of(self.flat_kernel())
        return [LayerNumbers(self.name, self.kind, real, source, self.scale_of("output"), constants, scales)]


@keras.saving.register_keras_serializable("keras_gates")
class QuantizedDense(QuantizedSums):
    """A dense layer in int8."""

    kind = "dense"

    def totals(self, x: Any, kernel: Any, exact: bool) -> Any:
        return product(x, kernel, exact, self.activation_bits)

    def rescaled(self, total: Any, real: Any) -> Any:
        """Return the sums in steps of the output: LiteRT's reference kernel multiplies in double, and rounds once."""
        return super().rescaled(total, real) if self.arithmetic == "tflm" else nearest(total * real)


@keras.saving.register_keras_serializable("keras_gates")
class QuantizedConv1D(QuantizedSums):
    """A convolution over time in int8."""

    kind = "conv"

    def totals(self, x: Any, kernel: Any, exact: bool) -> Any:
        layer, each = self.layer, wide if exact else narrow
        if layer.padding == "causal":
            x = ops.pad(x, [[0, 0], [layer.dilation_rate[0] * (layer.kernel_size[0] - 1), 0], [0, 0]])
        kernel = ops.reshape(kernel, layer.kernel.shape)
        padding = "valid" if layer.padding == "causal" else layer.padding
        return ops.conv(
            each(x), each(kernel), strides=layer.strides[0], padding=padding, dilation_rate=layer.dilation_rate[0]
        )

    def flat_kernel(self) -> Any:
        return ops.reshape(ops.convert_to_tensor(self.layer.kernel), (-1, self.layer.filters))

    def file_kernel(self, kernel: np.ndarray) -> np.ndarray:
        size, inputs = self.layer.kernel.shape[:2]
        return kernel.T.reshape(-1, 1, size, inputs)


@keras.saving.register_keras_serializable("keras_gates")
class QuantizedDepthwiseConv1D(QuantizedSums):
    """A convolution over time of every channel by itself in int8."""

    kind = "depthwise"

    def totals(self, x: Any, kernel: Any, exact: bool) -> Any:
        layer, each = self.layer, wide if exact else narrow
        kernel = ops.reshape(kernel, layer.kernel.shape)
        return ops.depthwise_conv(
            each(x),
            each(kernel),
            strides=layer.strides[0],
            padding=layer.padding,
            dilation_rate=layer.dilation_rate[0],
        )

    def flat_kernel(self) -> Any:
        kernel = ops.convert_to_tensor(self.layer.kernel)
        return ops.reshape(kernel, (kernel.shape[0], -1))

    def file_kernel(self, kernel: np.ndarray) -> np.ndarray:
        return kernel[None, None]


@keras.saving.register_keras_serializable("keras_gates")
class QuantizedAverage(QuantizedLayer):
    """`AveragePooling1D` in int8, whose output has the scale of its input; scales: "input", "output", which are equal."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Average the numbers of every window, rounded away from zero."""
        numbers = self.input_numbers(inputs, training)
        soft = self.layer(numbers)
        # A half may come out as one ulp less, depending on how the backend divides; other fractions are farther away.
        hard = nearest(soft + ops.sign(soft) * 1e-4)
        return self.scale_of("output").reals(straight(hard, soft))

    def file_numbers(self) -> list[LayerNumbers]:
        """Return nothing: a file gives the scale of the input to the output."""
        return []


@keras.saving.register_keras_serializable("keras_gates")
class QuantizedGlobalAverage(QuantizedLayer):
    """`GlobalAveragePooling1D` in int8; scales: "input", "output"."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Average over time."""
        source, target = self.scale_of("input"), self.scale_of("output")
        total = ops.sum(self.input_numbers(inputs, training) - float(source.zero), axis=1)
        steps = inputs.shape[1]
        real = source.scale / target.scale
        soft = total * (real / steps) + float(target.zero)
        hard = averaged(wide(total), real, steps) if self.is_exact(training) else nearest(total * (real / steps))
        return target.reals(straight(narrow(clipped(hard + float(target.zero), 8)), clipped(soft, 8)))

    def file_numbers(self) -> list[LayerNumbers]:
        """Return the scales."""
        return [LayerNumbers(self.name, "mean", None, self.scale_of("input"), self.scale_of("output"))]


def averaged(total: Any, real: float, steps: int) -> Any:
    """Return sums of so many steps divided by their number and in steps of the output, as the kernel MEAN rescales them."""
    fraction, shift = np.frexp(real)
    multiplier = int(np.floor(fraction * 2**31 + 0.5))
    more = min(steps.bit_length() - 1, 31 + int(shift))
    multiplier, shift = (multiplier << more) // steps, int(shift) - more
    once = ops.floor(total * 2.0 ** max(shift, 0) * float(multiplier) * 2.0**-31 + 0.5)
    return nearest(once * 2.0 ** min(shift, 0))


def same_scale(scale: Scale) -> dict[str, list]:
    """Return the scales of a layer whose output is on its input's grid."""
    return {"input": scale.to_list(), "output": scale.to_list()}
