"""Every path that a command prints exists."""

import numpy as np
import pytest
from printed_paths import missing, paths_in

from keras_gates.cli import main

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")


def test_what_looks_like_a_path_is_taken_for_one():
    text = (
        "Epoch 1/2, 30 units; report: /tmp/a b/c.md (runs/x.unfinished) see https://x.org/y.md │ model.tflite │ 20 / 4"
    )
    assert paths_in(text) == ["/tmp/a", "b/c.md", "runs/x.unfinished", "model.tflite"]
    assert missing("no/such/file.c and " + __file__) == (["no/such/file.c"], 2)


@pytest.mark.slow
def test_every_printed_path_exists(tmp_path, monkeypatch, capsys):
    """From training to C, as a person would go on with the files that the last command names."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("export traces with TensorFlow")
    monkeypatch.chdir(tmp_path)
    small = ["--units", "4", "--set", "layers=1", "--batch-size", "256", "--epochs", "1", "--no-baselines"]

    def printed(*arguments):
        assert main([str(argument) for argument in arguments]) == 0
        captured = capsys.readouterr()
        return captured.out + captured.err

    text = printed("train", "digits", *small)
    (run,) = (tmp_path / "runs").iterdir()
    wrong, count = missing(text, run)
    assert (wrong, count >= 4) == ([], True)
    np.save("x.npy", np.zeros((2, 8, 8), "float32"))
    for arguments in (
        ("export", run / "model.keras", "out", "--formats", "tflite,c"),
        ("look", run / "model.keras", "x.npy", "-o", "look.html"),
        ("info", "out/model.tflite"),
        ("c99", "out/model.tflite", "c99"),
        ("export", run / "model.keras", "all", "--calibration", "x.npy", "--compare"),
    ):
        text = printed(*arguments)
        wrong, count = missing(text)
        assert wrong == [], text
        assert count or arguments[0] == "info" or "--compare" in arguments, text
