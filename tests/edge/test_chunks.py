"""Tables read in pieces: the same cells as pandas reads at once, and the same models."""

import gzip

import numpy as np
import pandas as pd
import pytest

from keras_gates.edge import EdgeError
from keras_gates.edge.chunks import is_large, read_chunks
from keras_gates.edge.series import read_series

DRAW = np.random.default_rng(0)


@pytest.fixture(scope="module")
def frame():
    return pd.DataFrame(
        {"time": np.arange(1000) * 20, "x": DRAW.normal(size=1000), "label": DRAW.choice(["a", "b"], 1000)}
    )


WRITERS = {
    "a.csv": lambda frame, path: frame.to_csv(path, index=False),
    "b.csv": lambda frame, path: frame.to_csv(
        path, sep=";", decimal=",", encoding="utf-8-sig"
    ),  # an index without a name
    "c.csv.gz": lambda frame, path: path.write_bytes(gzip.compress(frame.to_csv(index=False).encode())),
    "d.parquet": lambda frame, path: frame.to_parquet(path),
    "e.tsv": lambda frame, path: path.write_bytes(frame.to_csv(sep="\t", index=False).encode("cp1252")),
}


@pytest.mark.parametrize("name", WRITERS)
def test_pieces_are_the_table(tmp_path, frame, name):
    WRITERS[name](frame, tmp_path / name)
    pieces = list(read_chunks(tmp_path / name, required=["x"], rows=300))
    assert len(pieces) == 4
    assert all(piece.names == list(frame.columns) for piece in pieces)
    np.testing.assert_allclose(np.concatenate([piece.numbers("x") for piece in pieces]), frame["x"], rtol=1e-12)
    assert [label for piece in pieces for label in piece.texts("label")] == frame["label"].tolist()


def test_an_error_names_the_row(tmp_path, frame, monkeypatch):
    lines = frame.to_csv(index=False).splitlines()
    lines[700] = "14000,high,a"
    (tmp_path / "a.csv").write_text("\n".join(lines))
    with pytest.raises(EdgeError, match=r"a.csv, row 701, column 'x': 'high' is not a number"):
        [piece.numbers("x") for piece in read_chunks(tmp_path / "a.csv", rows=300)]
    lines[700] = "14000,1.0,a,b"
    (tmp_path / "a.csv").write_text("\n".join(lines))
    with pytest.raises(EdgeError, match=r"a.csv, line 701: 4 cells where the first line has 3"):
        list(read_chunks(tmp_path / "a.csv", rows=300))
    monkeypatch.setattr("keras_gates.edge.chunks._SAMPLE", 4000)  # beyond what decides about encoding and separator
    with pytest.raises(EdgeError, match=r"after row 600: .*Expected 3 fields in line 701, saw 4"):
        list(read_chunks(tmp_path / "a.csv", rows=300))


def test_what_is_no_table_is_said(tmp_path, frame):
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(EdgeError, match="no column 'y'; its columns are: time, x, label"):
        list(read_chunks(tmp_path / "a.csv", required=["y"]))
    with pytest.raises(EdgeError, match="there is no file"):
        list(read_chunks(tmp_path / "b.csv"))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(EdgeError, match=r"b.parquet cannot be read"):
        list(read_chunks(tmp_path / "b.parquet"))


def test_a_large_series_is_the_same_series(tmp_path, monkeypatch):
    times = pd.date_range("2024-01-01", periods=500, freq="h")
    table = pd.DataFrame({"date": times, "shop": DRAW.normal(size=500), "web": DRAW.normal(size=500)})
    table.to_csv(tmp_path / "s.csv", index=False)
    at_once = read_series(tmp_path / "s.csv")
    assert not is_large(tmp_path / "s.csv")
    monkeypatch.setattr("keras_gates.edge.chunks.LARGE", 100)
    assert is_large(tmp_path / "s.csv")
    in_pieces = read_series(tmp_path / "s.csv")
    np.testing.assert_array_equal(in_pieces.values, at_once.values)
    assert in_pieces.names == at_once.names
    assert in_pieces.times.frequency == at_once.times.frequency == "h"
