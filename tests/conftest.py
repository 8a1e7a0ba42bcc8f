"""What every test runs under: quiet TensorFlow, and one random seed a test, so that a failure repeats."""

import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    np.random.seed(7)
