"""One training over several devices or processes ends with the weights of a single process; a lost process ends the job."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # six processes, each with a TensorFlow or JAX of its own
WORKER = Path(__file__).parents[1] / "support/distributed_worker.py"
TOLERANCE = 1e-4


def start(backend, *arguments):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(process):
    try:
        told, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    return process.returncode, told


def addresses(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = ",".join(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    for one in sockets:
        one.close()
    return found


def together(folder, count, kill=None):
    """A job of `count` processes, all of which read and one of which writes `folder`."""
    hosts = addresses(count)
    dies = {kill[0]: ("--kill-in", kill[1])} if kill else {}
    return [end(p) for p in [start("jax", folder, "jax", hosts, i, *dies.get(i, ())) for i in range(count)]]


def weights(folder, process=0):
    with np.load(folder / f"weights-{process}.npz", allow_pickle=False) as file:
        return [file[name] for name in file.files]


def furthest(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    code, told = end(start("tensorflow", folder, "alone"))
    assert code == 0, told
    return weights(folder)


def test_two_devices_end_with_the_weights_of_one(alone, tmp_path):
    code, told = end(start("tensorflow", tmp_path, "mirrored"))
    assert code == 0, told
    assert furthest(weights(tmp_path), alone) < TOLERANCE


def test_a_killed_process_ends_the_job_and_resume_ends_with_the_weights_of_one(alone, tmp_path):
    pytest.importorskip("jax", reason="several processes need JAX")
    (code, told), (killed, _) = together(tmp_path, 2, kill=(1, 2))
    assert killed == -9
    assert code not in (0, -9)
    assert "--resume" in told or "another task died" in told, told
    assert (tmp_path / "state.json").exists()
    ends = together(tmp_path, 2)
    assert [code for code, _ in ends] == [0, 0], ends
    assert furthest(weights(tmp_path, 0), weights(tmp_path, 1)) == 0
    assert furthest(weights(tmp_path), alone) < TOLERANCE
