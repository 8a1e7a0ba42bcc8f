"""A layer whose forward pass is that of an integer operator: it holds the float layer whose weights it trains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.quantization.arithmetic import has_float64
from keras_gates.quantization.numbers import ACTIVATION_BITS, WEIGHT_BITS, Scale


@dataclass(frozen=True)
class LayerNumbers:
    """What a file holds for one layer.

    Attributes:
        layer: its name.
        kind: "embedding", "lstm", "article", "dense", "conv", "depthwise" or "mean".
        kernel: float weights by which its operator is recognised, `(inputs, outputs)`; None for a mean.
        input: scale of its input; None for an embedding.
        output: scale of its output.
        constants: integers of the weights, by name.
        scales: scales of the weights, by the same names.
        cell: scale of an LSTM's cell state.
        kernels: of the article's formulation, which has several operators: `kernel` of each, by name.
        activations: likewise the scales of what is computed inside a time step, by name.
    """

    layer: str
    kind: str
    kernel: np.ndarray | None
    input: Scale | None
    output: Scale
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    scales: dict[str, np.ndarray] = field(default_factory=dict)
    cell: float | None = None
    kernels: dict[str, np.ndarray] = field(default_factory=dict)
    activations: dict[str, Scale] = field(default_factory=dict)


class QuantizedLayer(keras.layers.Layer):
    """A layer around another one, computed in integers.

    Args:
        layer: The float layer, or its config.
        scales: Of its activations, by name: `[scale, zero point]`, and of a cell state its scale.
        precision: "int8", "int4" or "int16x8".
        arithmetic: "litert" or "tflm", whose roundings are computed.
        exact_training: Whether training too computes every rounding of the kernels; else only inference does.
        raw_input: Whether the input comes from outside the integer graph, and is to be rounded to its scale.
        **kwargs: Of every Keras layer.
    """

    def __init__(
        self,
        layer: Any,
        scales: dict[str, Any],
        precision: str = "int8",
        arithmetic: str = "litert",
        exact_training: bool = False,
        raw_input: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.layer = keras.saving.deserialize_keras_object(layer) if isinstance(layer, dict) else layer
        self.scales = dict(scales)
        self.precision = precision
        self.arithmetic = arithmetic
        self.exact_training = exact_training
        self.raw_input = raw_input

    @property
    def weight_bits(self) -> int:
        """Bits of the kernels."""
        return WEIGHT_BITS[self.precision]

    @property
    def activation_bits(self) -> int:
        """Bits of the activations."""
        return ACTIVATION_BITS[self.precision]

    def scale_of(self, name: str) -> Scale:
        """Return the scale of an activation, "input", "output" or "hidden"."""
        scale, zero = self.scales[name]
        return Scale(float(scale), int(zero), self.activation_bits)

    def is_exact(self, training: bool | None) -> bool:
        """Return whether to compute every rounding of the kernels."""
        return has_float64() and (self.exact_training or not training)

    def input_numbers(self, x: Any, training: bool | None) -> Any:
        """Return the layer's input as whole numbers.

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

    def file_numbers(self) -> list[LayerNumbers]:
        """Return what a file holds for this layer, by operator."""
        raise NotImplementedError

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "layer": keras.saving.serialize_keras_object(self.layer),
            "scales": self.scales,
            "precision": self.precision,
            "arithmetic": self.arithmetic,
            "exact_training": self.exact_training,
            "raw_input": self.raw_input,
        }


def array_of(x: Any) -> np.ndarray:
    """Return a tensor as a float32 array."""
    return np.array(ops.convert_to_numpy(x), np.float32)


def whole_of(x: Any, dtype: Any) -> np.ndarray:
    """Return a tensor of whole numbers as an array of integers."""
    return np.array(np.round(ops.convert_to_numpy(x)), dtype)
