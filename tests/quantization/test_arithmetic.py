"""The arithmetic against integers of Python and functions of NumPy."""

import keras
import numpy as np
import pytest

from keras_gates.exporting.c99.fixed_point import decompose, scaled
from keras_gates.quantization import arithmetic
from keras_gates.quantization.numbers import Scale, cell_scale
from keras_gates.quantization.tables import gate_table


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="needs float64, which JAX has with jax_enable_x64 only")
def test_rescaling_is_that_of_integers():
    generator = np.random.default_rng(0)
    x = generator.integers(-(2**20), 2**20, 3000)
    reals = np.exp(generator.uniform(-12, 2, 3000)).astype("float32")
    reals[:20] = 2.0 ** np.arange(-10, 10)  # where a logarithm is near a whole number
    wanted = [scaled(int(number), *decompose(float(real))) for number, real in zip(x, reals)]
    got = arithmetic.rescaled(arithmetic.wide(x), arithmetic.wide(reals))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(got), wanted)


@pytest.mark.parametrize(("runtime", "within"), [("litert", 5e-4), ("tflm", 3e-3)])
@pytest.mark.parametrize("bits", [3, 0, 6])
def test_tables_are_near_the_functions(bits, runtime, within):
    x = np.arange(-32768, 32768) * 2.0 ** (bits - 15)
    assert np.abs(gate_table("tanh", bits, runtime) / 32768 - np.tanh(x)).max() < within
    if bits == 3:
        assert np.abs(gate_table("sigmoid", bits, runtime) / 32768 - 1 / (1 + np.exp(-x))).max() < within


def test_halves_are_rounded_away_from_zero():
    got = arithmetic.nearest(keras.ops.convert_to_tensor([-1.5, -0.5, -0.4, 0.4, 0.5, 1.5, 2.5]))
    assert keras.ops.convert_to_numpy(got).tolist() == [-2, -1, 0, 0, 1, 2, 3]


@pytest.mark.parametrize("range_", [(0.0, 2.0), (-1.0, 0.0), (-0.3, 5.0), (1.0, 2.0), (0.0, 0.0)])
def test_zero_is_a_number_of_every_scale(range_):
    scale = Scale.of_range(*range_)
    assert -128 <= scale.zero <= 127
    x = np.linspace(min(range_[0], 0), max(range_[1], 0), 50).astype("float32")
    back = scale.reals(scale.numbers(keras.ops.convert_to_tensor(x), rounded=True, clip=True))
    assert np.abs(keras.ops.convert_to_numpy(back) - x).max() <= 1.01 * scale.scale
    assert float(scale.reals(scale.numbers(keras.ops.zeros(1), rounded=True, clip=True))[0]) == 0.0


def test_the_cell_has_room_and_a_scale_that_kernels_support():
    assert cell_scale(0.01) == 2.0**-15
    assert cell_scale(0.9) == 2.0**-14
    assert cell_scale(1000.0) == 2.0**-9
