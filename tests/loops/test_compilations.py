"""TensorFlow: how often XLA compiles the loop when the batches have many lengths: once for each multiple of 32 time steps."""

import os
import subprocess
import sys

import pytest
from helpers import BACKEND

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BACKEND != "tensorflow", reason="the compiled loop is TensorFlow's"),
]

# XLA writes a file for every program that it compiles; the lengths are in two buckets, 1 to 32 and 33 to 64.
TRAINING = """
import os, sys
import keras, numpy as np, tensorflow as tf
from keras_gates import GateLSTM
model = keras.Sequential([keras.Input((None, 3)), GateLSTM(4, loop="compiled", go_backwards=sys.argv[2] == "backwards")])
model.compile("sgd", "mse")
def programs():
    return sum(name.endswith("before_optimizations.txt") for name in os.listdir(sys.argv[1]))
def train(time):
    model.train_on_batch(np.ones((6, time, 3), "float32"), np.ones((6, 4), "float32"))
    return programs()
print(*[train(time) for time in (20, 21, 32, 5, 33, 40, 64, 9)])
"""


@pytest.mark.parametrize("direction", ["forwards", "backwards"])
def test_one_compilation_for_a_bucket_of_lengths(direction, tmp_path):
    flags = f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text"
    environment = {**os.environ, "XLA_FLAGS": flags, "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-c", TRAINING, str(tmp_path), direction]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    first, *counts = map(int, done.stdout.split())
    assert first >= 2  # forward and backward, for exactly 20 steps: only the second length lets Keras trace for any
    assert counts == [2 * first] * 3 + [3 * first] * 4
