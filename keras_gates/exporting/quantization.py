"""`quantization_report`: where integers would lose, before anything is exported."""

from __future__ import annotations

from typing import Any

import keras

from keras_gates._arguments import typed_with
from keras_gates.exporting.front_end import front_end_of
from keras_gates.exporting.model_inputs import inputs_of
from keras_gates.exporting.options import ExportRequest
from keras_gates.exporting.output_units import units_outside
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.verify import samples
from keras_gates.exporting.verify.noise import QuantizationReport, noise_of
from keras_gates.layers.unchanged import leaves_model_unchanged

MOST = 32


@typed_with(own=("model",))
@leaves_model_unchanged
def quantization_report(model: keras.Model, data: Any, precision: str = "int8") -> QuantizationReport:
    """Round one tensor of a model at a time, as an integer file would, and measure what it costs.

    Every other tensor stays in float, and each value is rounded once: an approximation that shows where a file loses, not what
    it answers. The ranges are taken from four fifths of the data, as `export` does, everything else from the rest. Layers of
    the standard LSTM are looked into gate by gate, others by their output and weights.

    Args:
        model: Any built Keras model, on the TensorFlow backend. It is not changed.
        data: Whole sequences of inputs, as `export` takes them for `calibration`; at most 160 are run.
        precision: "int8" or "int16x8".

    Returns:
        One entry per tensor, the costliest first; printed, it is a table with advice below.

    Raises:
        ExportError: another backend or precision, too few sequences, or shapes that do not fit the model.

    Example:

    >>> model = keras.Sequential([keras.Input((10, 3)), keras_gates.GateLSTM(4)])
    >>> report = keras_gates.quantization_report(model, np.random.normal(size=(20, 10, 3)))
    >>> report.tensors[0].cost >= report.tensors[-1].cost
    True
    """
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"quantization_report takes the TensorFlow backend, as export does; Keras runs on {keras.backend.backend()} here. "
            "Set KERAS_BACKEND=tensorflow."
        )
    if not isinstance(model, keras.Model):
        raise ExportError(
            f"quantization_report takes a keras.Model, got {type(model).__name__}. Wrap a layer in keras.Sequential."
        )
    if precision not in ("int8", "int16x8"):
        raise ExportError(f'quantization_report takes the precision "int8" or "int16x8", got {precision!r}.')
    inputs = inputs_of(model)
    sequences = samples.spread(samples.samples_of(data, inputs), 5 * MOST)
    if len(sequences) < 2:
        raise ExportError(f"quantization_report got {len(sequences)} sequences; pass at least two, better a hundred.")
    if len({tuple(x.shape for x in each) for each in sequences}) > 1:
        raise ExportError("quantization_report takes sequences of one length, got several; pad or cut them.")
    outside = front_end_of(model) is not None  # the export leaves it in float, before the first integer
    request = ExportRequest(model=model, inputs=inputs, precision=precision, calibration=lambda: iter(sequences))
    with units_outside(request):
        return noise_of(model, inputs, sequences, precision, outside)
