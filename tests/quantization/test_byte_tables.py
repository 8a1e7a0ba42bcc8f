"""The tables of int8 sigmoid and tanh are those of the C, which is compared with the runtimes."""

import numpy as np
import pytest

from keras_gates.exporting.c99.fixed_point import sigmoid_table, tanh_table
from keras_gates.quantization.tables import byte_table


@pytest.mark.parametrize("arithmetic", ["litert", "tflm"])
def test_every_entry(arithmetic):
    generator = np.random.default_rng(0)
    for exponent in np.linspace(-3.5, 0, 12):
        scale, zero = np.float32(10**exponent), int(generator.integers(-128, 128))
        sigmoid = sigmoid_table(arithmetic, scale, zero, np.float32(1 / 256), -128)
        tanh = tanh_table(arithmetic, scale, zero, np.float32(1 / 128), 0)
        np.testing.assert_array_equal(byte_table("sigmoid", float(scale), zero, arithmetic), sigmoid)
        np.testing.assert_array_equal(byte_table("tanh", float(scale), zero, arithmetic), tanh)
