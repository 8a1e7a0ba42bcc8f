"""Files that other programs wrote: pandas, a spreadsheet, sox, the serial monitor of an Arduino. `train.py check` reads each."""

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from keras_gates.models import find
from keras_gates.models.training import main

DRAW = np.random.default_rng(0)


def movements():
    """60 recordings of 30 rows, two kinds of movement."""
    rows = []
    for number in range(60):
        wave = np.sin(np.arange(30) * (0.3 if number % 2 else 1.2)) + DRAW.normal(0, 0.05, 30)
        label = "slow" if number % 2 else "fast"
        rows.append(
            pd.DataFrame({"recording": number, "t": np.arange(30) * 0.02, "x": wave, "y": 1 - wave, "label": label})
        )
    return pd.concat(rows, ignore_index=True)


def sales(days=400):
    days = pd.date_range("2023-01-02", periods=days, freq="D")
    shop = 100 + 30 * np.sin(2 * np.pi * np.arange(len(days)) / 7) + DRAW.normal(size=len(days))
    return pd.DataFrame({"date": days, "shop": shop.round(2), "web": (2 * shop).round(2)})


def mails():
    texts = [f"please {'pay the bill' if n % 2 else 'come to the party'}, number {n}" for n in range(60)]
    return pd.DataFrame({"text": texts, "label": ["money" if n % 2 else "fun" for n in range(60)]})


def sheet(engine):
    def write(frame, path):
        pytest.importorskip(engine)
        frame.to_excel(path, index=False, engine=engine)

    return write


WRITERS = {
    "a.csv": lambda frame, path: frame.to_csv(path, index=False),
    "index.csv": lambda frame, path: frame.to_csv(path),
    "german.csv": lambda frame, path: frame.to_csv(path, index=False, sep=";", decimal=","),
    "excel.csv": lambda frame, path: frame.to_csv(path, index=False, encoding="utf-8-sig", lineterminator="\r\n"),
    "unicode.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t", encoding="utf-16"),
    "quoted.csv": lambda frame, path: frame.to_csv(path, index=False, quoting=1),
    "small.csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    "a.parquet": lambda frame, path: frame.to_parquet(path),
    "openpyxl.xlsx": sheet("openpyxl"),
    "xlsxwriter.xlsx": sheet("xlsxwriter"),
}
KINDS = {"gesture": movements, "forecast": sales, "text": mails}


@pytest.mark.parametrize("name", WRITERS)
def test_what_pandas_and_spreadsheets_write_is_read(tmp_path, capsys, name):
    for model, make in KINDS.items():
        frame = make()
        path = tmp_path / f"{model}-{name}"
        WRITERS[name](frame, path)
        assert main(["check", str(path)]) == 0
        text = capsys.readouterr().out
        assert f"data for {model}" in text
        if model == "gesture":
            assert "60 recordings, 42 / 6 / 12" in text
            assert "channels x, y" in text
            assert "lengths 30 to 30 rows" in text
        if model == "forecast":
            assert "400 times from 2023-01-02 00:00:00 to 2024-02-05 00:00:00, frequency D" in text
        if model == "text":
            assert "2 classes: fun 30, money 30" in text


def test_numbers_survive_every_writer(tmp_path):
    frame = sales(200)
    for name, write in WRITERS.items():
        try:
            write(frame, tmp_path / name)
        except pytest.skip.Exception:
            continue
        data = find("forecast").data(str(tmp_path / name), history=28, horizon=7)
        x, _ = data.arrays("train", 1)
        np.testing.assert_allclose(x[0, :, :2], frame[["shop", "web"]].to_numpy()[:28], rtol=1e-6)


def test_a_serial_log_of_an_arduino(tmp_path, capsys):
    """What a sketch prints by Serial.print (a header, then millis(), ax, ay, az and a label), saved under Windows."""
    lines = []
    for number in range(40):
        for step in range(25):
            wave = np.sin(step * (0.3 if number % 2 else 1.2)) * 4
            millis = 1000 + 20 * (25 * number + step)
            values = f"{wave:.2f}, {-wave:.2f}, {9.81 + 0.1 * wave:.2f}"
            lines.append(f"{millis}, {values}, {'slow' if number % 2 else 'fast'}")
    (tmp_path / "log.csv").write_bytes(("millis, ax, ay, az, label\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
    assert main(["check", str(tmp_path / "log.csv")]) == 0
    text = capsys.readouterr().out
    assert "channels ax, ay, az" in text
    assert "2 classes: fast 20, slow 20" in text


@pytest.mark.skipif(shutil.which("sox") is None, reason="sox writes the files")
@pytest.mark.parametrize(
    "options",
    [
        ["-b", "16"], ["-b", "24"], ["-b", "32", "-e", "floating-point"], ["-b", "8", "-e", "unsigned-integer"], ["-e", "u-law"],
        ["-c", "2"], ["-t", "flac"], ["-t", "ogg"], ["-t", "aiff"], ["-t", "pipe"],
    ],
)  # fmt: skip
def test_what_sox_writes_is_read(tmp_path, capsys, options):
    kind = options[1] if options[0] == "-t" else "wav"
    suffix, pipe = ("wav", True) if kind == "pipe" else (kind, False)
    options = ["-t", suffix, *([] if options[0] == "-t" else options)]
    for word, pitch in (("low", 300), ("high", 900)):
        (tmp_path / word).mkdir()
        for number in range(5):
            path = tmp_path / word / f"{number}.{suffix}"
            target = ["-"] if pipe else [str(path)]
            tone = ["synth", "0.6", "sine", str(pitch + 10 * number), "gain", "-6"]
            written = subprocess.run(
                ["sox", "-n", "-r", "16000", *options, *target, *tone], capture_output=True, check=True
            )
            if pipe:
                path.write_bytes(written.stdout)
    assert main(["check", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "sample rates 16,000 Hz, read at 16,000 Hz" in text
    assert "10 recordings, 6 / 2 / 2" in text
    x, y = find("speech").data(str(tmp_path)).arrays("train", 6)
    for sound, index in zip(x, y):
        pitch = np.abs(np.fft.rfft(sound)).argmax()
        assert abs(pitch - (920, 320)[index]) <= 25
