"""`export` with precision int4: `EdgeModel` and the C answer as the int8 file with the same weights in a byte each."""

import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_gates
from keras_gates.edge import EdgeModel
from keras_gates.edge.packed import unpacked
from keras_gates.edge.tflite import read

sys.path.insert(0, str(Path(__file__).parents[1] / "exporting"))

pytestmark = [
    pytest.mark.slow,  # two exports; tests/exporting/test_packed.py packs shipped files
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export traces with TensorFlow"),
]
EVENTS = np.random.default_rng(0).normal(size=(40, 10, 3)).astype("float32")


@pytest.fixture(scope="module")
def aware():
    """9 units, 3 features and 5 classes: odd numbers of weights and of rows."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((10, 3)), keras_gates.GateLSTM(9), keras.layers.Dense(5, activation="softmax")]
    )
    model.set_weights([w + 0.3 * np.random.default_rng(1).normal(size=w.shape) for w in model.get_weights()])
    return keras_gates.quantize_aware(model, "int4", calibration=EVENTS)


@pytest.fixture(scope="module")
def files(aware, tmp_path_factory):
    """The packed file, and the one with a byte per weight."""
    folder = tmp_path_factory.mktemp("files")
    for precision in ("int4", "int8"):
        report = keras_gates.export(aware, folder, ["tflite"], precision, target="micro", name=precision)
        assert report.precision == precision
        assert report.bytes == (folder / f"{precision}.tflite").stat().st_size
    return tuple((folder / f"{precision}.tflite").read_bytes() for precision in ("int4", "int8"))


def test_edge_model_answers_as_with_a_byte_per_weight(files):
    packed, whole = EdgeModel(files[0]), EdgeModel(files[1])
    expected = whole.predict(EVENTS)
    assert len(np.unique(expected)) > 50
    np.testing.assert_array_equal(packed.predict(EVENTS), expected)
    assert packed.description.facts["precision"] == "int4"


def test_the_file_has_half_a_byte_per_weight(files):
    packed, whole = (read(data).subgraphs[0].tensors for data in files)
    assert {tensor.shape for tensor in packed if tensor.dtype == "int4"} == {(9, 3), (9, 9), (5, 9)}
    for four, eight in zip(packed, whole, strict=True):
        if four.dtype == "int4":
            assert (four.constant_bytes, eight.constant_bytes) == (-(-eight.constant_bytes // 2), np.prod(four.shape))
    assert sum(tensor.dtype == "int4" for tensor in packed) == 9
    assert read(unpacked(files[0])).subgraphs[0].tensors == whole
    assert unpacked(files[1]) is files[1]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_the_c_answers_as_edge_model(files, tmp_path):
    from test_c99 import Compiled

    from keras_gates.exporting.c99.graph import graph_of
    from keras_gates.exporting.c99.reference import answers, random_inputs
    from keras_gates.exporting.c99.write import write_c99

    graph = graph_of(files[0])
    write_c99(files[0], tmp_path, name="m")
    assert "dots4(" in (tmp_path / "m.c").read_text()
    samples = random_inputs(graph, 20, seed=1)
    compiled = Compiled(tmp_path, "m", graph)
    for sample, (expected,) in zip(samples, answers(files[1], graph_of(files[1]), "litert", samples), strict=True):
        np.testing.assert_array_equal(compiled.run(sample)[0], expected)


def test_what_cannot_be_packed_is_refused(aware, tmp_path):
    model = keras.Sequential([keras.Input((10, 3)), keras_gates.GateLSTM(2)])
    with pytest.raises(keras_gates.ExportError, match=r"trained in 4 bits: keras_gates\.quantize_aware\(model, 'int4'"):
        keras_gates.export(model, tmp_path, ["tflite"], "int4", calibration=EVENTS)
    with pytest.raises(keras_gates.ExportError, match="TFLM has no LSTM with weights of 4 bits"):
        keras_gates.export(aware, tmp_path, ["c"], "int4")
    assert not list(tmp_path.iterdir())
