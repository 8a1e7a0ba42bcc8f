"""LSTM and Bidirectional in integers: the float layers with the integer operator's loop over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates._patch import patched
from keras_gates.layers.standard import weights_of
from keras_gates.quantization import recurrence
from keras_gates.quantization.layers import LayerNumbers, QuantizedLayer, array_of, whole_of
from keras_gates.quantization.recurrence import LSTMScales


class QuantizedRecurrence(QuantizedLayer):
    """A layer with one LSTM or two."""

    def parts(self) -> list[tuple[keras.layers.RNN, LSTMScales]]:
        """Return each LSTM with its scales."""
        raise NotImplementedError

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Run the layer over a sequence, with another loop than its own."""
        with patched([(part, "inner_loop", self._loop(part, scales)) for part, scales in self.parts()]):
            return self.run(inputs, mask, bool(training))

    def run(self, inputs: Any, mask: Any, training: bool) -> Any:
        """Run the float layer, whose loops over time are replaced."""
        return self.layer(inputs, mask=mask, training=training)

    def _loop(self, part: keras.layers.RNN, scales: LSTMScales) -> Callable:
        def loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> tuple:
            mask = mask[0] if isinstance(mask, list | tuple) else mask
            return recurrence.run(
                self._numbers(part, scales),
                scales,
                self.input_numbers(sequences, training),
                list(initial_state),
                self.is_exact(training),
                mask=mask,
                go_backwards=part.go_backwards,
                unroll=part.unroll,
                zero_output_for_mask=part.zero_output_for_mask,
                return_all_outputs=part.return_sequences,
            )

        return loop

    def _numbers(self, part: keras.layers.RNN, scales: LSTMScales) -> recurrence.LSTMNumbers:
        return recurrence.lstm_numbers(*weights_of(part.cell), scales, self.weight_bits)

    def scales_with(self, cell: str) -> LSTMScales:
        """Return the scales of an LSTM whose cell state has that of a name."""
        return LSTMScales(self.scale_of("input"), self.scale_of("hidden"), float(self.scales[cell]), self.arithmetic)

    @property
    def stateful(self) -> bool:
        """Whether a batch continues the one before."""
        return bool(self.layer.stateful)

    @property
    def states(self) -> Any:
        """The states that the next batch starts from, if the layer is stateful."""
        return [state for part, _ in self.parts() for state in part.states or ()]

    def reset_states(self) -> None:
        """Forget the batch before."""
        self.layer.reset_states()

    def file_numbers(self) -> list[LayerNumbers]:
        """Return kernels and biases by gate: input_0, recurrent_0, bias_0, …, in the order of columns."""
        return [self._file_numbers(part, scales) for part, scales in self.parts()]

    def _file_numbers(self, part: keras.layers.RNN, scales: LSTMScales) -> LayerNumbers:
        numbers = self._numbers(part, scales)
        constants: dict[str, np.ndarray] = {}
        of_weights: dict[str, np.ndarray] = {}
        kernel, recurrent = whole_of(numbers.kernel, np.int8), whole_of(numbers.recurrent_kernel, np.int8)
        bias_type = np.int32 if self.activation_bits == 8 else np.int64
        bias, x = whole_of(numbers.bias, bias_type), np.float32(scales.x.scale)
        k_scales, r_scales = array_of(numbers.kernel_scales), array_of(numbers.recurrent_scales)
        for gate in range(recurrence.GATES):
            columns = slice(gate * len(recurrent), (gate + 1) * len(recurrent))
            constants |= {f"input_{gate}": kernel[:, columns].T, f"recurrent_{gate}": recurrent[:, columns].T}
            constants |= {f"bias_{gate}": bias[columns]}
            k_scale, r_scale = k_scales[columns][:1], r_scales[columns][:1]
            of_weights |= {f"input_{gate}": k_scale, f"recurrent_{gate}": r_scale, f"bias_{gate}": k_scale * x}
        joint = array_of(weights_of(part.cell)[0])
        return LayerNumbers(self.name, "lstm", joint, scales.x, scales.hidden, constants, of_weights, scales.cell)


@keras.saving.register_keras_serializable("keras_gates")
class QuantizedLSTM(QuantizedRecurrence):
    """An LSTM with int8 hidden state and int16 cell state; scales: "input", "hidden", "cell"."""

    def parts(self) -> list[tuple[keras.layers.RNN, LSTMScales]]:
        return [(self.layer, self.scales_with("cell"))]


@keras.saving.register_keras_serializable("keras_gates")
class QuantizedBidirectional(QuantizedRecurrence):
    """Two LSTMs whose joined hidden states have one scale; scales: "input", "hidden", "cell", "backward_cell"."""

    def run(self, inputs: Any, mask: Any, training: bool) -> Any:
        """Run both directions. (Keras' wrapper may run them by one operator of cuDNN.)"""
        options = {"mask": mask, "training": training}
        after, before = self.layer.forward_layer(inputs, **options), self.layer.backward_layer(inputs, **options)
        before = ops.flip(before, axis=1) if self.layer.return_sequences else before
        return ops.concatenate([after, before], axis=-1)

    def parts(self) -> list[tuple[keras.layers.RNN, LSTMScales]]:
        directions = ((self.layer.forward_layer, "cell"), (self.layer.backward_layer, "backward_cell"))
        return [(part, self.scales_with(cell)) for part, cell in directions]
