"""Layers whose forward pass is that of an integer operator: each holds the float layer whose weights it trains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates._patch import patched
from keras_gates.layers.standard import weights_of
from keras_gates.quantization import recurrence
from keras_gates.quantization.arithmetic import has_float64, narrow, nearest, product, straight, wide
from keras_gates.quantization.numbers import WEIGHT_BITS, Scale, bias_numbers, weight_numbers
from keras_gates.quantization.recurrence import LSTMScales

FINAL_ACTIVATIONS = ("softmax", "sigmoid")  # computed after the last integers


@dataclass(frozen=True)
class LayerNumbers:
    """What a file holds for one layer.

    Attributes:
        layer: its name.
        kind: "embedding", "lstm" or "dense".
        kernel: float weights by which its operator is recognised.
        input: scale of its input; None for an embedding.
        output: scale of its output.
        constants: integers of the weights, by name.
        scales: scales of the weights, by the same names.
        cell: scale of an LSTM's cell state.
    """

    layer: str
    kind: str
    kernel: np.ndarray
    input: Scale | None
    output: Scale
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    scales: dict[str, np.ndarray] = field(default_factory=dict)
    cell: float | None = None


class QuantizedLayer(keras.layers.Layer):
    """A layer around another one, computed in integers.

    Args:
        layer: The float layer, or its config.
        scales: Of its activations, by name: `[scale, zero point]`, and of a cell state its scale.
        precision: "int8" or "int4", of its weights.
        exact_training: Whether training too computes every rounding of the kernels; else only inference does.
        raw_input: Whether the input comes from outside the integer graph, and is to be rounded to its scale.
        **kwargs: Of every Keras layer.
    """

    def __init__(
        self,
        layer: Any,
        scales: dict[str, Any],
        precision: str = "int8",
        exact_training: bool = False,
        raw_input: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.layer = keras.saving.deserialize_keras_object(layer) if isinstance(layer, dict) else layer
        self.scales = dict(scales)
        self.precision = precision
        self.exact_training = exact_training
        self.raw_input = raw_input

    @property
    def weight_bits(self) -> int:
        """Bits of the kernels."""
        return WEIGHT_BITS[self.precision]

    def scale_of(self, name: str) -> Scale:
        """Return the scale of an activation, "input", "output" or "hidden"."""
        scale, zero = self.scales[name]
        return Scale(float(scale), int(zero))

    def is_exact(self, training: bool | None) -> bool:
        """Return whether to compute every rounding of the kernels."""
        return has_float64() and (self.exact_training or not training)

    def input_numbers(self, x: Any, training: bool | None) -> Any:
        """Return the layer's input as int8 numbers.

        In training the values of a layer before it are taken as they are: dropout scales them off the grid and out of range.
        """
        return self.scale_of("input").numbers(x, rounded=self.raw_input or not training, clip=self.raw_input)

    def build(self, input_shape: Any) -> None:
        """Build the float layer."""
        if not self.layer.built:
            self.layer.build(input_shape)
        self.built = True

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the float layer's mask."""
        return self.layer.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the float layer's output shape."""
        return self.layer.compute_output_shape(input_shape)

    def file_numbers(self) -> LayerNumbers:
        """Return what a file holds for this layer."""
        raise NotImplementedError

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "layer": keras.saving.serialize_keras_object(self.layer),
            "scales": self.scales,
            "precision": self.precision,
            "exact_training": self.exact_training,
            "raw_input": self.raw_input,
        }


@keras.saving.register_keras_serializable("keras_gates")
class QuantizedEmbedding(QuantizedLayer):
    """An embedding whose table is int8; scales: "output"."""

    def call(self, inputs: Any) -> Any:
        """Look up the rounded vectors."""
        scale = self.scale_of("output")
        return scale.reals(ops.take(self._table(), ops.cast(inputs, "int32"), axis=0))

    def _table(self) -> Any:
        return self.scale_of("output").numbers(ops.convert_to_tensor(self.layer.embeddings), rounded=True, clip=True)

    def file_numbers(self) -> LayerNumbers:
        """Return the table."""
        table = _whole(self._table(), np.int8)
        return LayerNumbers(
            self.name, "embedding", _array(self.layer.embeddings), None, self.scale_of("output"), {"table": table}
        )


@keras.saving.register_keras_serializable("keras_gates")
class QuantizedDense(QuantizedLayer):
    """A dense layer in int8, one weight scale per output; scales: "input", "output" (before softmax or sigmoid)."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Run the layer."""
        sums = self.sums(inputs, training)
        return self.layer.activation(sums) if self.activation in FINAL_ACTIVATIONS else sums

    def sums(self, inputs: Any, training: bool | None = None) -> Any:
        """Return the layer's last integers as reals: its output, or what softmax or sigmoid is computed of."""
        exact = self.is_exact(training)
        source, target = self.scale_of("input"), self.scale_of("output")
        kernel, bias, scale = self._integers()
        total = product(self.input_numbers(inputs, training), kernel, exact) + bias(exact)
        real = wide(scale) * source.scale / target.scale
        soft = narrow(total) * narrow(real) + float(target.zero)
        hard = nearest(total * real if exact else narrow(total) * narrow(real)) + float(target.zero)
        low = float(target.zero) if self.activation == "relu" else -128.0
        return target.reals(straight(narrow(ops.clip(hard, low, 127.0)), ops.clip(soft, low, 127.0)))

    @property
    def activation(self) -> str:
        """Name of the layer's activation."""
        return str(self.layer.activation.__name__)

    def _integers(self) -> tuple[Any, Any, Any]:
        """Return the kernel, the bias with the zero point folded in (a function of `exact`), and the weights' scales."""
        source = self.scale_of("input")
        kernel, scale = self._kernel()
        folded = self._bias(scale) - source.zero * wide(ops.sum(kernel, axis=0))
        return kernel, lambda exact: folded if exact else narrow(folded), scale

    def _kernel(self) -> tuple[Any, Any]:
        return weight_numbers(ops.convert_to_tensor(self.layer.kernel), self.weight_bits, groups=self.layer.units)

    def _bias(self, scale: Any) -> Any:
        if self.layer.bias is None:
            return wide(ops.zeros_like(scale))
        return bias_numbers(ops.convert_to_tensor(self.layer.bias), scale * self.scale_of("input").scale)

    def file_numbers(self) -> LayerNumbers:
        """Return kernel and bias."""
        kernel, scale = self._kernel()
        scale_array = _array(scale)
        source = self.scale_of("input")
        constants = {"kernel": _whole(kernel, np.int8).T, "bias": _whole(self._bias(scale), np.int32)}
        scales = {"kernel": scale_array, "bias": scale_array * np.float32(source.scale)}
        return LayerNumbers(
            self.name, "dense", _array(self.layer.kernel), source, self.scale_of("output"), constants, scales
        )


@keras.saving.register_keras_serializable("keras_gates")
class QuantizedLSTM(QuantizedLayer):
    """An LSTM with int8 hidden state and int16 cell state; scales: "input", "hidden", "cell"."""

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Run the layer over a sequence, with another loop than its own."""

        def loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> tuple:
            mask = mask[0] if isinstance(mask, list | tuple) else mask
            scales = self.lstm_scales()
            return recurrence.run(
                self._numbers(scales),
                scales,
                self.input_numbers(sequences, training),
                list(initial_state),
                self.is_exact(training),
                mask=mask,
                go_backwards=self.layer.go_backwards,
                unroll=self.layer.unroll,
                zero_output_for_mask=self.layer.zero_output_for_mask,
                return_all_outputs=self.layer.return_sequences,
            )

        with patched([(self.layer, "inner_loop", loop)]):
            return self.layer(inputs, mask=mask, training=bool(training))

    @property
    def stateful(self) -> bool:
        """Whether a batch continues the one before."""
        return bool(self.layer.stateful)

    @property
    def states(self) -> Any:
        """The states that the next batch starts from, if the layer is stateful."""
        return self.layer.states

    def reset_states(self) -> None:
        """Forget the batch before."""
        self.layer.reset_states()

    def lstm_scales(self) -> LSTMScales:
        """Return the scales of input, hidden and cell state."""
        return LSTMScales(self.scale_of("input"), self.scale_of("hidden"), float(self.scales["cell"]))

    def _numbers(self, scales: LSTMScales) -> recurrence.LSTMNumbers:
        return recurrence.lstm_numbers(*weights_of(self.layer.cell), scales, self.weight_bits)

    def file_numbers(self) -> LayerNumbers:
        """Return kernels and biases by gate: input_0, recurrent_0, bias_0, …, in the order of columns."""
        scales = self.lstm_scales()
        numbers = self._numbers(scales)
        constants: dict[str, np.ndarray] = {}
        of_weights: dict[str, np.ndarray] = {}
        kernel, recurrent = _whole(numbers.kernel, np.int8), _whole(numbers.recurrent_kernel, np.int8)
        bias, x = _whole(numbers.bias, np.int32), np.float32(scales.x.scale)
        k_scales, r_scales = _array(numbers.kernel_scales), _array(numbers.recurrent_scales)
        for gate in range(recurrence.GATES):
            columns = slice(gate * len(recurrent), (gate + 1) * len(recurrent))
            constants |= {f"input_{gate}": kernel[:, columns].T, f"recurrent_{gate}": recurrent[:, columns].T}
            constants |= {f"bias_{gate}": bias[columns]}
            k_scale, r_scale = k_scales[columns][:1], r_scales[columns][:1]
            of_weights |= {f"input_{gate}": k_scale, f"recurrent_{gate}": r_scale, f"bias_{gate}": k_scale * x}
        joint = _array(weights_of(self.layer.cell)[0])
        return LayerNumbers(
            self.name, "lstm", joint, scales.x, scales.hidden, constants, of_weights, float(self.scales["cell"])
        )


def _array(x: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(x), np.float32)


def _whole(x: Any, dtype: Any) -> np.ndarray:
    return np.array(np.round(ops.convert_to_numpy(x)), dtype)
