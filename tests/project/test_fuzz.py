"""Damaged bytes into everything that reads files on the device: a result or an EdgeError, never anything else."""

import functools
import io
import json
import wave
from dataclasses import replace

import numpy as np
import pytest
from exported import X, exported
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_gates.cli.inputs import read_arrays, read_rows
from keras_gates.edge import EdgeError, EdgeModel
from keras_gates.edge.description import describe
from keras_gates.edge.frontends import tokens
from keras_gates.edge.sound import read_wav
from keras_gates.edge.tflite import read

NAMES = ("float", "words", "article_int8")
BYTES = st.binary(min_size=1, max_size=4) | st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f"])
EDIT = st.tuples(st.integers(0, 1 << 20), BYTES)
DAMAGE = st.tuples(st.lists(EDIT, min_size=1, max_size=5), st.none() | st.integers(0, 1 << 20))
fuzz = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def damaged(data, damage):
    edits, end = damage
    data = bytearray(data)
    for place, new in edits:
        at = place % len(data)
        data[at : at + len(new)] = new
    return bytes(data if end is None else data[: end % len(data)])


def survives(function, *arguments):
    try:
        return function(*arguments)
    except EdgeError:
        return None


@functools.cache
def unsealed(name):
    """A file whose seal is off, so that damage reaches the readers behind it."""
    return exported(name).data.replace(b'{"digest"', b'{"digesd"')


@fuzz
@given(st.sampled_from(NAMES), DAMAGE)
def test_tflite(name, damage):
    survives(lambda: describe(read(damaged(unsealed(name), damage))))


@fuzz
@given(st.sampled_from(NAMES), DAMAGE)
def test_a_sealed_file_with_any_damage_does_not_open(name, damage):
    data = exported(name).data
    other = damaged(data, damage)
    if other != data:
        with pytest.raises(EdgeError):
            EdgeModel(other, probe=False)


KEYS = st.sampled_from(["name", "role", "time", "value"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@fuzz
@given(st.sampled_from(NAMES), st.data())
def test_metadata(name, data):
    file = read(exported(name).data)
    entry = json.loads(file.metadata["keras_gates"])
    for _ in range(data.draw(st.integers(1, 3))):
        place, key = entry, data.draw(st.sampled_from(sorted(entry)))
        while isinstance(place[key], list | dict) and place[key] and data.draw(st.booleans()):
            place = place[key]
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        place[key] = data.draw(VALUES)
    text = json.dumps(entry).encode()
    survives(lambda: describe(replace(file, metadata={"keras_gates": text})))


@fuzz
@given(st.lists(st.lists(st.floats(width=32) | st.text(max_size=4), max_size=4), max_size=5), DAMAGE)
def test_csv(tmp_path_factory, rows, damage):
    text = "\n".join(",".join(map(str, row)) for row in rows).encode("utf-8", "surrogatepass") + b"\n"
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(damaged(text, damage))
    survives(lambda: list(read_rows(str(path))))


@fuzz
@given(st.sampled_from([(1, 1), (2, 2), (1, 3)]), DAMAGE)
def test_wav(tmp_path_factory, kind, damage):
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((*kind, 8000, 0, "NONE", ""))
        file.writeframes(bytes(range(60)) * 2)
    path = tmp_path_factory.getbasetemp() / "fuzz.wav"
    path.write_bytes(damaged(sound.getvalue(), damage))
    survives(read_wav, path)


@fuzz
@given(DAMAGE)
def test_npy(tmp_path_factory, damage):
    array = io.BytesIO()
    np.save(array, np.ones((4, 3), "float32"))
    path = tmp_path_factory.getbasetemp() / "fuzz.npy"
    path.write_bytes(damaged(array.getvalue(), damage))
    survives(read_arrays, path)


@fuzz
@given(DAMAGE)
def test_npz(tmp_path_factory, damage):
    archive = io.BytesIO()
    np.savez(archive, events=np.ones((4, 3), "float32"), other=np.zeros(2, "int32"))
    path = tmp_path_factory.getbasetemp() / "fuzz.npz"
    path.write_bytes(damaged(archive.getvalue(), damage))
    survives(read_arrays, path)


@fuzz
@given(st.text(max_size=30), st.dictionaries(st.sampled_from(["standardize", "split", "longest"]), VALUES, max_size=3))
def test_text(text, frontend):
    got = survives(tokens, text, ["", "[UNK]", "a", "b"], frontend)
    assert got is None or (got.dtype == np.int32 and ((got >= 0) & (got < 4)).all())


@settings(fuzz, max_examples=60)
@given(st.data())
def test_numbers_of_any_kind(data):
    model = model_of("float")
    shape = data.draw(st.lists(st.integers(0, 5), max_size=4))
    kind = data.draw(st.sampled_from(["float32", "float64", "int64", "bool", "complex64", "U3", "O", "datetime64[s]"]))
    survives(model.predict, np.zeros(shape, kind))
    survives(model.predict, data.draw(VALUES))


@functools.cache
def model_of(name):
    return EdgeModel(exported(name).path)


def test_the_fuzzed_files_are_good_ones_to_begin_with():
    for name in NAMES:
        assert describe(read(unsealed(name))).known
    assert model_of("float").predict(X[:1]).shape == (1, 3)
