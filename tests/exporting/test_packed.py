"""Files with two weights per byte, made of shipped ones: `EdgeModel` answers as with a byte per weight."""

import pickle

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="EdgeModel runs LiteRT")
from test_c99 import zoo
from test_c99_packed import with_small_weights

from keras_gates.edge import EdgeError, EdgeModel
from keras_gates.edge.packed import unpacked
from keras_gates.edge.tflite import read
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.tflite.packed import packed

EVENTS = np.random.default_rng(0).normal(size=(8, 51, 3)).astype("float32")


@pytest.fixture(scope="module")
def whole():
    return with_small_weights(zoo("gesture-nano"))


@pytest.fixture(scope="module")
def halves(whole):
    return packed(whole)


def test_edge_model_answers_as_with_a_byte_per_weight(whole, halves):
    model, expected = EdgeModel(halves), EdgeModel(whole).predict(EVENTS)
    assert len(np.unique(expected)) > 50
    np.testing.assert_array_equal(model.predict(EVENTS), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(EVENTS), expected)
    assert model.description.facts["precision"] == "int4"
    assert len(halves) < len(whole) - 5000  # half of 10,704 weights


def test_every_other_byte_stays(whole, halves):
    before, after = (read(data).subgraphs[0] for data in (whole, unpacked(halves)))
    assert after == before
    assert sum(tensor.dtype == "int4" for tensor in read(halves).subgraphs[0].tensors) == 9
    assert unpacked(whole) is whole


def test_damaged_files_are_refused(halves):
    data = bytearray(halves)
    data[len(data) // 2] ^= 1
    with pytest.raises(EdgeError, match=r"checksum differs|damaged"):
        EdgeModel(bytes(data))
    for end in range(16, len(halves), len(halves) // 40):
        with pytest.raises(EdgeError):
            EdgeModel(halves[:end])


def test_a_file_whose_weights_take_bytes_is_refused():
    with pytest.raises(ExportError, match=r"no matrix of the file fits into 4 bits; train with quantize_aware"):
        packed(zoo("gesture-nano"))
