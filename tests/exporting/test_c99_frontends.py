"""Front ends in C: the same integers as Python, sample by sample; smoothing and trigger as `EdgeModel.stream`."""

import ctypes
import shutil
import subprocess

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the file is exported here")
pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
from exported import BINS, FRONTEND, LABELS
from test_c99 import STRICT, zoo
from test_c99_outputs import softmax16

from keras_gates import EdgeModel, GateLSTM, export
from keras_gates.edge.fixed_log_mel import FixedLogMel
from keras_gates.edge.frontends import log_mel, scaled
from keras_gates.edge.tflite import EdgeError
from keras_gates.edge.values import quantized
from keras_gates.exporting.c99.frontends import Trigger, literal
from keras_gates.exporting.c99.graph import graph_of
from keras_gates.exporting.c99.write import write_c99
from keras_gates.exporting.report import ExportError

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
SECONDS = np.arange(16000) / 8000


def sounds():
    """Generated 16-bit sound of two seconds: noise, a square wave at the limits, a chirp, almost silence, silence."""
    random = np.random.default_rng(0)
    chirp = np.sin(2 * np.pi * (100 + 1500 * SECONDS) * SECONDS) * 0.5
    square = np.sign(np.sin(2 * np.pi * 440 * SECONDS + 0.1)) * 0.99999
    each = [random.normal(size=16000) * 0.1, square, chirp, random.normal(size=16000) * 1e-3, np.zeros(16000)]
    whole = [np.clip(np.round(x * 32768), -32768, 32767).astype(np.int16) for x in each]
    return [*whole, random.integers(-32768, 32768, 16000).astype(np.int16), np.full(16000, -32768, np.int16)]


def library(folder, extra):
    (folder / "all.c").write_text(f'#include "m.c"\nint state_bytes(void) {{ return (int)sizeof(m_state); }}\n{extra}')
    flags = [*STRICT, "-O2", "-fsanitize=undefined", "-fno-sanitize-recover", "-fPIC", "-shared"]
    subprocess.run(["gcc", *flags, "all.c", "-o", "m.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "m.so"))


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


FEATURES = """void features(const int16_t *x, int n, int8_t *y)
{
    static int32_t spectrum[256][2];
    for (int i = 0; i + 256 <= n; i += 128, y += BANDS)
        log_mel(x + i, 0, spectrum, y);
}
"""


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """The zoo's smallest speech model in C."""
    folder, data = tmp_path_factory.mktemp("speech"), zoo("speech-nano")
    assert write_c99(data, folder, name="m").listens
    return graph_of(data).description, library(folder, FEATURES.replace("BANDS", "24"))


def test_log_mel_in_c_has_the_integers_of_python(speech):
    description, c = speech
    fixed = FixedLogMel(description.frontend, description.events[0])
    for sound in sounds():
        stored = fixed(sound)
        got = np.empty_like(stored)
        c.features(pointer(sound), len(sound), pointer(got))
        np.testing.assert_array_equal(got, stored)


def test_log_mel_in_integers_is_that_in_float_to_a_step(speech):
    description, _ = speech
    fixed, real = FixedLogMel(description.frontend, description.events[0]), log_mel(description.frontend)
    for sound in sounds()[:-1]:  # without direct current at the limit, whose leakage is 2 steps
        wanted = quantized(description.events[0], real(sound.astype(np.float32) / 32768))
        steps = np.abs(fixed(sound).astype(int) - wanted)
        assert steps.max() <= 1
        assert (steps > 0).mean() < 0.05


def test_log_mel_over_spoken_digit(speech):
    tfds = pytest.importorskip("tensorflow_datasets")
    description, c = speech
    fixed = FixedLogMel(description.frontend, description.events[0])
    try:
        rows = tfds.load("spoken_digit", split="train", download=False)
    except (AssertionError, ValueError, FileNotFoundError, tfds.core.DatasetNotFoundError):
        pytest.skip("needs the data set spoken_digit, prepared by tensorflow_datasets")
    count = 0
    for row in rows.as_numpy_iterator():
        sound = np.clip(row["audio"], -32768, 32767).astype(np.int16)
        stored = fixed(sound)
        got = np.empty_like(stored)
        c.features(pointer(sound), len(sound), pointer(got))
        assert (got == stored).all(), count
        count += 1
    assert count == 2500


@pytest.fixture(scope="module")
def hearing(tmp_path_factory):
    """A small int8 stream with a log-mel front end: its folder, and its file."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("export() runs on the TensorFlow backend")
    keras.utils.set_random_seed(5)
    events = keras.Input((None, BINS))
    model = keras.Model(
        events, keras.layers.Dense(3, activation="softmax")(GateLSTM(8, kernel_initializer="ones")(events))
    )
    real = log_mel(FRONTEND)
    x = np.stack([real(sound[:4096].astype(np.float32) / 32768) for sound in sounds()])
    folder = tmp_path_factory.mktemp("hearing")
    metadata = {"labels": LABELS, "frontend": FRONTEND}
    export(model, folder, ("tflite",), "int8", mode="stream", calibration=x, metadata=metadata)
    return folder, folder / "model.tflite"


@pytest.mark.parametrize(("smooth", "bits"), [(1, 8), (4, 8), (3, 16)])
def test_listen_reports_what_a_stream_of_edge_model_reports(hearing, tmp_path, smooth, bits):
    _, file = hearing
    if bits == 16:
        (tmp_path / "wide.tflite").write_bytes(softmax16(file.read_bytes()))
        file = tmp_path / "wide.tflite"
    write_c99(file.read_bytes(), tmp_path, name="m", trigger=Trigger(smooth, 0.36, ("other",)))
    c = library(tmp_path, "")
    state = ctypes.create_string_buffer(c.state_bytes())
    model, reported = EdgeModel(file), 0
    for sound in sounds():
        c.m_reset(state)
        stream, heard = model.stream(smooth=smooth, threshold=0.36, background=["other"]), []
        for start in range(0, len(sound), 128):  # after the first frame, an event per call
            piece = sound[start : start + 128]
            label = c.m_listen(state, pointer(piece), len(piece))
            fixed = stream.front_end(piece)
            heard.extend(fixed)
            wanted = [detection.label for event in fixed for detection in stream.detect(event)]
            assert wanted == ([] if label < 0 else [LABELS[label]])
            reported += len(wanted)
        np.testing.assert_array_equal(model.events(sound), heard)  # a whole recording gives the same events
    assert reported >= 3


def test_measurements_are_standardized_as_in_python(tmp_path):
    data = zoo("forecast-etth1-nano")
    description = graph_of(data).description
    write_c99(data, tmp_path, name="m")
    c = library(tmp_path, "")
    values = np.random.default_rng(0).normal(15, 20, (500, 5)).astype(np.float32)
    values[0], values[1] = 1e9, -1e9
    wanted = quantized(description.events[0], scaled(values, description.frontend))
    got = np.empty((500, 5), np.int8)
    for row, event in zip(values, got):
        c.m_standardize(pointer(row), pointer(event))
    np.testing.assert_array_equal(got, wanted)


def test_what_does_not_fit_is_refused(tmp_path):
    data = zoo("speech-nano")
    with pytest.raises(ExportError, match=r"the file has no label \['noise'\]"):
        write_c99(data, tmp_path / "no", trigger=Trigger(background=("noise",)))
    with pytest.raises(ExportError, match="smooth must be from 1 to 10000, got 0"):
        write_c99(data, tmp_path / "no", trigger=Trigger(smooth=0))
    assert not (tmp_path / "no").exists()
    port = graph_of(data).description.events[0]
    with pytest.raises(EdgeError, match="a power of two from 16 to 4096, not 200"):
        FixedLogMel({"sample_rate": 8000, "frame": 200, "hop": 100, "bins": 24}, port)


def test_a_label_cannot_leave_its_string(tmp_path):
    texts = ['"??/" + evil', "ä", "\\", "two\nlines */", "plain"]
    lines = "".join(f"    fwrite({literal(text)}, 1, sizeof {literal(text)} - 1, stdout);\n" for text in texts)
    (tmp_path / "labels.c").write_text(f"#include <stdio.h>\nint main(void)\n{{\n{lines}    return 0;\n}}\n")
    subprocess.run(["gcc", "-std=c99", "labels.c", "-o", "labels"], cwd=tmp_path, check=True)
    assert subprocess.check_output([tmp_path / "labels"]).decode() == "".join(texts)
