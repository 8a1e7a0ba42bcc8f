"""Commands that read a Keras model: one sentence before Keras is imported, custom layers, the report."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from exported import exported

from keras_gates.cli import main

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

CODE = """
import keras
class Double(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""
WITHOUT_KERAS = (
    "import sys; sys.modules['keras'] = None; from keras_gates.cli import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models of several kinds, good and bad data."""
    folder = tmp_path_factory.mktemp("models")
    space = {}
    exec(CODE, space)
    (folder / "my_layers.py").write_text(CODE)
    events = keras.Input((4, 3))
    lstm = keras.layers.LSTM(2, name="memory")
    keras.Model(events, lstm(events)).save(folder / "good.keras")
    keras.Sequential([events, space["Double"](), keras.layers.LSTM(2)]).save(folder / "custom.keras")
    keras.Sequential([events, keras.layers.Lambda(lambda x: 2 * x)]).save(folder / "lambda.keras")
    (folder / "damaged.keras").write_bytes(b"no zip")
    (folder / "old.h5").write_bytes(b"no HDF5")
    (folder / "saved").mkdir()
    (folder / "saved/saved_model.pb").write_bytes(b"")
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(3, 4, 3)).astype("float32"))
    np.save(folder / "pickled.npy", np.array([{}, 1], object), allow_pickle=True)
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 broken")
    (folder / "x.csv").write_text("1,2,3\n4,5,6\n")
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.keras"], "no.keras: there is no such file"),
        (["damaged.keras"], "damaged or no .keras file"),
        (["saved"], "is a SavedModel.*tf_keras.*model.save"),
        (["x.npy"], "expected a .keras file, got .npy"),
        (["good.keras", "--module", "no.py"], "--module .*no.py: there is no such file"),
        (["good.keras", "--calibration", "x.csv"], "numpy.save"),
        (["good.keras", "--calibration", "pickled.npy"], "holds Python objects.*not numbers"),
        (["good.keras", "--calibration", "broken.npz"], "expected an array that numpy.save"),
        (["good.keras", "--calibration", "no.npz"], "No such file"),
        (["good.keras", "--formats", "tflight"], "--formats: expected some of .*tflight"),
        (["good.keras", "--precision", "int8"], "needs inputs to calibrate with: add --calibration data.npy"),
    ],
)
def test_what_is_wrong_with_names_is_one_sentence_without_keras(folder, arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("keras_gates.cli.export.import_keras", lambda: pytest.fail("Keras is imported first"))
    monkeypatch.setattr("keras_gates.cli.export.use_tensorflow", lambda options: None)
    assert main(["export", arguments[0], "out", *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert not (folder / "out").exists()


def test_keras_2_custom_layers_and_lambdas_name_what_helps(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    for file, message in (
        ("old.h5", "Keras 3 does not read this file of Keras 2"),
        ("custom.keras", "Double, which Keras does not know.*--module my_layers.py"),
        ("lambda.keras", "add --allow-lambda"),
    ):
        assert main(["look", file, "x.npy"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert re.search(message, error), error
    assert not (folder / "report.html").exists()


def test_the_report_from_the_command_line(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(["look", "custom.keras", "x.npy", "--module", "my_layers.py", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about == {"report": "report.html", "bytes": (folder / "report.html").stat().st_size}
    assert main(["look", "good.keras", "x.csv", "-o", "one.html", "--quiet"]) == 2  # 2 events where the model takes 4
    assert "(batch, 4, 3)" in capsys.readouterr().err
    assert not (folder / "one.html").exists()


def test_a_gap_in_the_examples_of_a_report_is_one_sentence(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    gap = np.zeros((2, 4, 3), "float32")
    gap[1, 2, 0] = np.nan
    np.save("gap.npy", gap)
    np.savez("gap.npz", event=gap, y=np.array([0.0, np.nan]))
    for file in ("gap.npy", "gap.npz"):
        assert main(["look", "good.keras", file, "-o", "gap.html"]) == 2
        assert re.fullmatch(
            rf"keras-gates look: {file}: expected finite numbers, got nan at \(1, 2, 0\).*\n", capsys.readouterr().err
        )
    assert main(["look", "good.keras", "x.npy", "--search", "gap.npy", "-o", "gap.html"]) == 2
    assert "gap.npy: expected finite numbers" in capsys.readouterr().err
    assert not (folder / "gap.html").exists()


def test_without_keras_and_from_the_shell(folder):
    """With the extra [edge] alone every command ends in a sentence; none logs."""
    model, path = str(folder / "good.keras"), str(exported("float").path)
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    for arguments in (["train", "digits"], ["export", model, "out"], ["look", model, str(folder / "x.npy")]):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_KERAS, *arguments], capture_output=True, text=True, cwd=folder
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "pip install" in done.stderr
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_KERAS, "bench", path, "--runs", "5", "--json"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["bytes"] > 0


def test_export_prints_nothing_but_its_report(folder):
    command = [sys.executable, "-m", "keras_gates", "export", str(folder / "good.keras"), str(folder / "out"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["files"].keys() == {"saved_model", "tflite"}


def test_version_and_json_of_every_device_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("keras-gates ")
    path = str(exported("float").path)
    assert main(["info", path, "--quiet"]) == 0
    assert capsys.readouterr().out == ""
