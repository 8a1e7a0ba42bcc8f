"""Every model of the zoo trains on every backend: one small epoch each, in one process per backend. On TensorFlow four of them
train in test_own_data_end_to_end.py."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # a process with its own backend for each
WORKER = Path(__file__).parents[1] / "support" / "zoo_backend_worker.py"


MODELS = ["digits", "language", "speech", "gesture", "text", "forecast"]


@pytest.mark.parametrize(("backend", "names"), [("tensorflow", MODELS[:2]), ("jax", MODELS), ("torch", MODELS)])
def test_every_model_trains_on_every_backend(tmp_path, backend, names):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-W", "ignore", str(WORKER), str(tmp_path), *names]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    losses = json.loads(ended.stdout.strip().splitlines()[-1])
    assert list(losses) == names
    for name, loss in losses.items():
        assert isinstance(loss, float), f"{name}: {loss}"
        assert np.isfinite(loss), name
        assert (tmp_path / name / "best.keras").exists()
