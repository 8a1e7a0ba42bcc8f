"""A device: an environment that holds NumPy, ai-edge-litert and our wheel (installed with --no-deps), and nothing else."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from exported import X, exported

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, sys
import numpy as np
from keras_gates import EdgeModel
model = EdgeModel("model.tflite")
stream = model.stream(smooth=2)
x = np.load("x.npy")
np.savez("y.npz", predict=model.predict(x), stream=stream.push(x[0]))
places = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
print(json.dumps(sorted({p.split("site-packages/")[1].split("/")[0] for p in places if "site-packages/" in p})))
"""


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """The environment's Python."""
    folder = tmp_path_factory.mktemp("device")
    copy = shutil.copytree(
        ROOT,
        folder / "source",
        ignore=shutil.ignore_patterns(".git", "*.egg-info", "build", "runs", "__pycache__", "weights"),
    )
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, copy], check=True)
    venv.create(folder / "venv", with_pip=False)
    site = next((folder / "venv").glob("lib*/python*/site-packages"))
    subprocess.run([*pip, "install", "--no-deps", "--target", site, *folder.glob("*.whl")], check=True)
    for package in ("numpy", "ai_edge_litert"):
        found = Path(__import__(package).__file__).parent
        for path in (found, found.parent / f"{package}.libs"):
            if path.exists():
                (site / path.name).symlink_to(path)
    return folder / "venv/bin/python"


def test_predicts_and_streams_with_numpy_and_litert_alone(device, tmp_path):
    file = exported("micro")
    shutil.copy(file.path, tmp_path / "model.tflite")
    np.save(tmp_path / "x.npy", X[:3])
    done = subprocess.run([device, "-I", "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"ai_edge_litert", "keras_gates", "numpy"}
    got = np.load(tmp_path / "y.npz")
    np.testing.assert_allclose(got["predict"], file.wanted(X[:3]), atol=0.03)
    assert got["stream"].shape == (12, 3)


def test_the_command_line_runs_there(device, tmp_path):
    np.save(tmp_path / "x.npy", X[:1])
    path = exported("float").path
    for arguments in (("info", path), ("predict", path, "x.npy"), ("bench", path, "--runs", "3")):
        done = subprocess.run(
            [device, "-I", "-m", "keras_gates", *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_what_needs_keras_says_so(device):
    done = subprocess.run(
        [device, "-I", "-c", "import keras_gates; keras_gates.GateLSTM"], capture_output=True, text=True
    )
    assert "ImportError" in done.stderr
    assert "pip install" in done.stderr
