"""A model in integers on the other backends, and trained on two devices; each in a process of its own."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from support.reference_kernels import answers

import keras_gates

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export traces with TensorFlow"),
]
PREDICT = """
import sys
import numpy as np
if sys.argv[1] == "jax":
    import jax
    jax.config.update("jax_enable_x64", True)
import keras, keras_gates
model = keras.saving.load_model(sys.argv[2])
np.save(sys.argv[4], model.predict(np.load(sys.argv[3]), verbose=0))
"""
TWO_DEVICES = """
import keras, numpy as np, tensorflow as tf
import keras_gates
cpu, two = tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
x, y = np.random.default_rng(0).normal(size=(16, 5, 3)).astype("float32"), np.ones((16, 1), "float32")
def weights(strategy):
    with strategy.scope():
        model = keras.Sequential([keras.Input((5, 3)), keras_gates.GateLSTM(4), keras.layers.Dense(1)])
        model.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in model.get_weights()])
        aware = keras_gates.quantize_aware(model, calibration=x)
        aware.compile(keras.optimizers.SGD(0.1), "mse")
    aware.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model.get_weights(), aware.get_weights()
before, one = weights(tf.distribute.get_strategy())
_, two = weights(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
for a, b, c in zip(one, two, before):
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert np.abs(a - c).max() > 1e-3
"""


def run(code, *arguments, backend="tensorflow"):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with a saved model in integers, inputs, and the answers of its file: integers, scale, zero point."""
    folder = tmp_path_factory.mktemp("aware")
    x = np.random.default_rng(0).normal(size=(40, 10, 3)).astype("float32")
    layers = [
        keras.layers.Conv1D(4, 3, activation="relu"),
        keras.layers.Bidirectional(keras_gates.GateLSTM(6, return_sequences=True)),
        keras.layers.LSTM(5),
        keras.layers.Dense(3),
    ]
    model = keras.Sequential([keras.Input((10, 3)), *layers])
    model.set_weights([np.random.default_rng(0).normal(scale=0.6, size=w.shape) for w in model.get_weights()])
    aware = keras_gates.quantize_aware(model, calibration=x)
    keras_gates.export(aware, folder, ["tflite"], "int8")
    aware.save(folder / "aware.keras")
    np.save(folder / "x.npy", x)
    return folder, answers((folder / "model.tflite").read_bytes(), x)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_every_backend_computes_the_answers_of_the_file(backend, exported, tmp_path):
    folder, (numbers, scale, zero) = exported
    run(PREDICT, backend, folder / "aware.keras", folder / "x.npy", tmp_path / "y.npy", backend=backend)
    np.testing.assert_array_equal(np.rint(np.load(tmp_path / "y.npy") / scale + zero), numbers)


def test_two_devices_train_as_one():
    run(TWO_DEVICES)
