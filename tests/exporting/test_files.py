"""Where an export writes: odd paths, a process that is killed. Never half a file."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="export needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="verification needs ai-edge-litert")
if keras.backend.backend() != "tensorflow":
    pytest.skip("export traces with TensorFlow", allow_module_level=True)

import tensorflow as tf

from keras_gates import GateLSTM, export
from keras_gates.edge import EdgeModel

KILLS = int(os.environ.get("KERAS_GATES_KILLS", "2"))


@pytest.mark.slow
def test_paths_with_spaces_umlauts_and_200_characters(tmp_path):
    model = keras.Sequential([keras.Input((6, 3)), GateLSTM(4)])
    x = np.random.default_rng(0).normal(size=(3, 6, 3)).astype("float32")
    out = tmp_path / "mit Leerzeichen" / "Größe & 'Maß'" / ("x" * 200)
    report = export(model, out, ["tflite", "saved_model"], name="größe 1")
    np.testing.assert_allclose(EdgeModel(out / "größe 1.tflite").predict(x), model(x), atol=1e-5)
    np.testing.assert_allclose(
        next(iter(tf.saved_model.load(str(out / "saved_model")).signatures["serve"](event=x).values())),
        model(x),
        atol=1e-5,
    )
    expected = ["größe 1.export.json", "größe 1.export.txt", "größe 1.tflite", "saved_model"]
    assert sorted(path.name for path in out.iterdir()) == sorted(expected)
    assert set(report.files.values()) == {str(out / "größe 1.tflite"), str(out / "saved_model")}


KILLED = """
import sys
import keras, keras_gates
models = [keras.saving.load_model(f"{sys.argv[1]}/{name}.keras") for name in ("one", "other")]
print("begun", flush=True)
while True:
    for model in models:
        keras_gates.export(model, sys.argv[1] + "/out", ["tflite", "saved_model"])
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_an_export_that_is_killed_leaves_whole_files(tmp_path):
    """At random moments of exports that take turns in one folder; KERAS_GATES_KILLS=20 kills more often."""
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    wanted, whole = [], {}
    for seed, name in enumerate(("one", "other")):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input((6, 3), name="event"), GateLSTM(4)], name=name)
        model.save(tmp_path / f"{name}.keras")
        export(model, tmp_path / name, ["tflite"])
        whole[(tmp_path / name / "model.tflite").read_bytes()] = name
        wanted.append(np.asarray(model(x)))
    out, moment = tmp_path / "out", random.Random(0)
    for _ in range(KILLS):
        writer = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True)
        assert writer.stdout.readline() == "begun\n"
        time.sleep(moment.uniform(4, 25))
        writer.kill()
        writer.wait()
        files = [path for path in out.iterdir() if not path.name.startswith(".")] if out.exists() else []
        for path in files:
            if path.name == "model.tflite":
                assert path.read_bytes() in whole
            elif path.name == "export.json":
                assert json.loads(path.read_text())["name"] in ("one", "other")
            elif path.name == "saved_model":
                loaded = tf.saved_model.load(str(path))
                got = next(iter(loaded.signatures["serve"](event=x).values()))
                assert any(np.allclose(got, each, atol=1e-5) for each in wanted)
            else:
                assert path.name == "export.txt"
                assert Path(path).read_text().rstrip()
