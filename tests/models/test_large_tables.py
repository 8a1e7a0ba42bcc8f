"""Tables larger than memory: read in chunks, they give the examples that they give when read at once."""

import keras
import numpy as np
import pandas as pd
import pytest

from keras_gates.models import find
from keras_gates.models.data import large, sensors
from keras_gates.models.training.checking import model_for

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the data pipeline is TensorFlow's")
DRAW = np.random.default_rng(0)


@pytest.fixture(params=[False, True], ids=["in a row", "taking turns"])
def table(request, tmp_path):
    """60 recordings of 20 rows of two channels, by 6 people."""
    recording = np.repeat(np.arange(60), 20)
    values = DRAW.normal(100_000, 3, (1200, 2)).round(3)
    label = np.where(recording % 2, "up", "down")
    frame = pd.DataFrame({"recording": recording, "x": values[:, 0], "y": values[:, 1], "label": label})
    frame["person"] = recording % 6
    if request.param:
        frame = frame.iloc[np.argsort(np.arange(1200) % 20, kind="stable")]
    frame.to_csv(tmp_path / "moves.csv", index=False)
    return tmp_path / "moves.csv"


@pytest.mark.parametrize("group", [None, "person"])
def test_the_examples_are_the_same(table, monkeypatch, group):
    arguments = {"steps": 20, "group": group} if group else {"steps": 20}
    at_once = find("gesture").data(str(table), **arguments)
    monkeypatch.setattr("keras_gates.edge.chunks.LARGE", 100)
    assert model_for(table) == "gesture"
    in_chunks = find("gesture").data(str(table), **arguments)
    movements = sensors.csv_recordings(table, 20, group)
    assert isinstance(movements.train[0][0], np.memmap)
    assert any("1,200 rows, read in chunks" in note for note in in_chunks.notes)
    for name in ("mean", "variance"):
        np.testing.assert_allclose(in_chunks.build[name], at_once.build[name], rtol=1e-9)
    for split in ("train", "validation", "test"):
        (x, y), (wanted, classes) = in_chunks.arrays(split, 100), at_once.arrays(split, 100)
        np.testing.assert_array_equal(x, wanted)
        np.testing.assert_array_equal(y, classes)
    batch, _ = next(iter(in_chunks.epoch(8, 0, 0)))
    assert batch.shape == (8, 20, 2)


def test_a_table_is_cut_as_at_once(tmp_path, monkeypatch):
    label = np.repeat(["a", "b"] * 10, 55)
    pd.DataFrame({"x": DRAW.normal(size=1100), "label": label}).to_csv(tmp_path / "a.csv", index=False)
    at_once = sensors.csv_recordings(tmp_path / "a.csv", 20, stride=10)
    monkeypatch.setattr("keras_gates.edge.chunks.LARGE", 100)
    monkeypatch.setattr(large.read_large, "__defaults__", ((), 300))
    in_chunks = sensors.csv_recordings(tmp_path / "a.csv", 20, stride=10)
    for (items, classes), (wanted, wanted_classes) in zip(in_chunks.splits(), at_once.splits()):
        assert len(items) == len(wanted)
        assert all(np.array_equal(one, other) for one, other in zip(items, wanted))
        np.testing.assert_array_equal(classes, wanted_classes)


def test_windows_of_a_long_series_are_cut_when_they_are_needed(monkeypatch):
    zoo = find("forecast")
    at_once = zoo.data(history=48, horizon=12)
    monkeypatch.setattr("keras_gates.models.forecast.MOST", 1000)
    late = zoo.data(history=48, horizon=12)
    for split in ("train", "test"):
        assert int(getattr(late, split).cardinality()) == int(getattr(at_once, split).cardinality())
        for one, other in zip(late.spread(split, 20), at_once.spread(split, 20)):
            np.testing.assert_array_equal(one, other)
