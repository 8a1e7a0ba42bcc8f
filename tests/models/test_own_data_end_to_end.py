"""A newcomer's files, in one command to a verified file for the device: what `python train.py MODEL --data PATH` does."""

import json

import keras
import numpy as np
import pytest
from test_own_data import write_wav

from keras_gates.cli import main as keras_gates_command
from keras_gates.edge import EdgeModel
from keras_gates.edge.examples import read_examples
from keras_gates.models.training import main

pytest.importorskip("ai_edge_litert", reason="the exported file runs in ai-edge-litert")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the zoo trains on TensorFlow")
DRAW = np.random.default_rng(0)


def train(folder, model, data, *options):
    """Runs train.py; returns the run's metrics and its folder."""
    status = main([model, "--data", str(data), "--out", str(folder / "runs"), *options])
    assert status == 0
    (run,) = (folder / "runs").iterdir()
    assert not run.name.endswith(".unfinished")
    return json.loads((run / "metrics.json").read_text()), run


def test_a_folder_of_wav_files_becomes_an_int8_file(tmp_path):
    for word, pitch in (("low", 250), ("high", 1500)):
        for number in range(10):
            time = np.arange(5000 + 300 * number) / 16000
            sound = 0.4 * np.sin(2 * np.pi * pitch * time) + DRAW.normal(0, 0.01, len(time))
            write_wav(tmp_path / "words" / word / f"{number}.wav", np.clip(sound, -1, 1), 16000)
    options = (
        "--preset", "nano", "--units", "16", "--epochs", "10", "--batch-size", "7", "--learning-rate", "0.02",
        "--precision", "int8", "--set", "sample_rate=8000", "--set", "seconds=0.5", "--no-baselines"
    )  # fmt: skip
    metrics, run = train(tmp_path, "speech", tmp_path / "words", *options)
    assert metrics["scores"]["accuracy"] == 1.0
    edge = EdgeModel(run / "model-int8.tflite")
    assert set(edge.labels) == {"high", "low"}
    tone = np.sin(2 * np.pi * 1500 * np.arange(4000) / 8000).astype("float32") * 0.4
    assert edge.predict(edge.events(tone)[None], top=1)[0][0][0] == "high"


def test_a_csv_of_a_sensor_becomes_an_int8_file(tmp_path):
    rows = ["time,x,y,label"]
    for run in range(30):
        for step in range(20):
            wave = np.sin(step * (0.3 if run % 2 else 1.2)) + DRAW.normal(0, 0.05)
            rows.append(f"{run * 20 + step},{wave:.4f},{1 - wave:.4f},{'slow' if run % 2 else 'fast'}")
    (tmp_path / "sensor.csv").write_text("\n".join(rows))
    metrics, run = train(
        tmp_path,
        "gesture",
        tmp_path / "sensor.csv",
        "--preset",
        "nano",
        "--units",
        "12",
        "--epochs",
        "8",
        "--batch-size",
        "6",
        "--learning-rate",
        "0.02",
        "--precision",
        "int8",
        "--set",
        "steps=20",
    )
    assert metrics["scores"]["accuracy"] == 1.0
    edge = EdgeModel(run / "model-int8.tflite")
    movement = np.stack([np.sin(np.arange(20) * 0.3), 1 - np.sin(np.arange(20) * 0.3)], 1).astype("float32")
    assert edge.predict(edge.events(movement)[None], top=1)[0][0][0] == "slow"
    assert edge.predict(edge.events(movement[:12])[None]).shape == (1, 2)  # a short one is padded
    told = edge.predict(read_examples(edge.description, str(tmp_path / "sensor.csv")), top=1)
    assert [best[0][0] for best in told] == ["slow" if run % 2 else "fast" for run in range(30)]
    baselines = {row["baseline"]: row["value"] for row in metrics["baselines"]}
    assert baselines["majority"] == 0.5
    assert "1-D CNN" in baselines


def test_a_csv_of_texts_becomes_a_dynamic_range_file(tmp_path):
    rows = ["text,label"]
    for number in range(60):
        rows.append(
            f"please {'pay the bill' if number % 2 else 'come to the party'} number {number},{'money' if number % 2 else 'fun'}"
        )
    (tmp_path / "mails.csv").write_text("\n".join(rows))
    options = (
        "--preset", "questions-nano", "--units", "8", "--epochs", "4", "--batch-size", "8", "--learning-rate", "0.01",
        "--precision", "dynamic"
    )  # fmt: skip
    metrics, run = train(tmp_path, "text", tmp_path / "mails.csv", *options)
    assert metrics["scores"]["accuracy"] == 1.0
    edge = EdgeModel(run / "model-dynamic.tflite")
    assert edge.predict("Please, come to the party!", top=1)[0][0][0] == "fun"


def test_a_csv_of_a_series_becomes_a_dynamic_range_file(tmp_path, capsys):
    rows = ["date,sold"]
    for day in range(400):
        rows.append(f"{np.datetime64('2023-01-01') + day},{100 + 30 * np.sin(2 * np.pi * day / 7) + DRAW.normal():.3f}")
    (tmp_path / "shop.csv").write_text("\n".join(rows))
    options = (
        "--preset",
        "nano",
        "--units",
        "8",
        "--epochs",
        "6",
        "--learning-rate",
        "0.01",
        "--precision",
        "dynamic",
        "--set",
        "history=28",
        "--set",
        "horizon=7",
    )
    metrics, run = train(tmp_path, "forecast", tmp_path / "shop.csv", *options)
    assert metrics["scores"]["mse"] < 0.2 < metrics["scores"]["last value mse"]
    for row in metrics["exports"]:
        assert row["scores"]["mse"] == pytest.approx(row["keras_scores"]["mse"], rel=0.1)
    model = run / "model-dynamic.tflite"
    assert EdgeModel(model).predict(np.zeros((1, 28, 5), "float32")).shape == (1, 7, 1, 3)
    capsys.readouterr()
    assert keras_gates_command(["predict", str(model), str(tmp_path / "shop.csv")]) == 0
    heading, *lines = capsys.readouterr().out.strip().splitlines()
    assert heading.split()[:2] == ["time", "sold"]
    assert [line.split()[0] for line in lines] == [str(np.datetime64("2023-01-01") + day) for day in range(400, 407)]
    medians = [float(line.split()[-2]) for line in lines]
    np.testing.assert_allclose(medians, 100 + 30 * np.sin(2 * np.pi * np.arange(400, 407) / 7), atol=12)


def test_what_is_wrong_is_said_in_one_line(tmp_path, capsys):
    (tmp_path / "mails.csv").write_text("text,class\nhello,a\n")
    assert main(["text", "--data", str(tmp_path / "mails.csv"), "--out", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert "has no column 'label'; its columns are: text, class" in said
    assert said.count("\n") == 1
