"""A file's C as the engine of an EdgeModel: the same answers as LiteRT's reference kernels, streams and threads included."""

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
from test_c99 import DATA, WEIGHTS

from keras_gates import CompiledRuntime
from keras_gates.edge import EdgeError, EdgeModel
from keras_gates.exporting.c99.reference import ReferenceRuntime

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.fixture(scope="module")
def both():
    """A file of a gesture model in the C and in LiteRT's reference kernels; event by event as well."""
    data = (WEIGHTS / "gesture-nano-int8.tflite").read_bytes()
    return [EdgeModel(data, engine=engine) for engine in (CompiledRuntime, ReferenceRuntime)]


def events(model, count, seed=0):
    port = model.description.events[0]
    return np.random.default_rng(seed).normal(size=(count, *port.tensor.shape[1:]))


def test_predictions_are_bit_equal_whatever_ran_before(both):
    x = events(both[0], 3)
    for batch in (x, x[::-1]):
        np.testing.assert_array_equal(both[0].predict(batch), both[1].predict(batch))


def test_threads_share_a_model_and_a_copy_continues(both):
    x = events(both[0], 12, seed=1)
    wanted = [both[1].predict(each[None]) for each in x]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda each: both[0].predict(each[None]), x))
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(both[0])).predict(x[:1]), wanted[0])


@pytest.mark.parametrize("name", ["float32", "int8_micro_stream", "int8_step"])
def test_streams_agree_event_by_event_and_continue_from_a_saved_state(name):
    data = (DATA / f"{name}.tflite").read_bytes()
    ours, wanted = (EdgeModel(data, engine=engine).stream() for engine in (CompiledRuntime, ReferenceRuntime))
    x = np.random.default_rng(2).normal(size=(9, *ours._description.events[0].event_shape))
    tolerance = 1e-6 if name == "float32" else 0
    for event in x[:5]:
        np.testing.assert_allclose(ours.push(event), wanted.push(event), rtol=0, atol=tolerance)
    saved, other = ours.state, wanted.state
    assert saved.keys() == other.keys()
    for key in saved:
        np.testing.assert_allclose(saved[key], other[key], rtol=0, atol=tolerance)
    first = ours.push(x[5:])
    ours.reset()
    ours.state = saved
    np.testing.assert_array_equal(ours.push(x[5:]), first)
    np.testing.assert_allclose(first, wanted.push(x[5:]), rtol=0, atol=tolerance)


def test_what_cannot_be_compiled_is_one_sentence(monkeypatch, tmp_path):
    data = (WEIGHTS / "show-lstm-int8.tflite").read_bytes()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(EdgeError, match=r"expected a C compiler .* apt-get install gcc"):
        EdgeModel(data, engine=CompiledRuntime)
    dynamic = (WEIGHTS / "show-lstm-dynamic.tflite").read_bytes()
    with pytest.raises(EdgeError, match="export with precision='int8' or 'float32'"):
        EdgeModel(dynamic, engine=CompiledRuntime)
