"""Loops of recurrent layers (the lowering "while") as C: within 1e-6 of LiteRT, and what is not such a loop is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
from test_c99 import SANITIZED, Compiled, make

from keras_gates.edge.tflite import seal
from keras_gates.exporting.c99.graph import graph_of
from keras_gates.exporting.c99.reference import answers, random_inputs
from keras_gates.exporting.c99.write import write_c99
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.tflite.flatbuffer import dump, load

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
DATA = Path(__file__).parents[1] / "data"
PINNED = DATA / "pinned" / "while.tflite"


def check(data, folder):
    """Write, compile, run the self-test under sanitizers, and compare ten sequences with LiteRT; return the C."""
    graph = graph_of(data)
    write_c99(data, folder, name="m")
    selftest = make(folder, f"CFLAGS={SANITIZED}")
    assert selftest.returncode == 0, selftest.stdout + selftest.stderr
    compiled, samples = Compiled(folder, "m", graph), random_inputs(graph, 10, seed=1)
    for sample, expected in zip(samples, answers(data, graph, "litert", samples), strict=True):
        for got, wanted in zip(compiled.run(sample), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
    return (folder / "m.c").read_text()


def test_a_loop_agrees_with_the_runtime_and_its_weights_stand_once(tmp_path):
    code = check(PINNED.read_bytes(), tmp_path)
    steps = graph_of(PINNED.read_bytes()).inputs[0].shape[1]
    assert code.count(f"for (int32_t t = 0; t < {steps}; ++t) {{") == 1
    assert (
        "No m_push: the model does not run event by event (it has a loop over whole sequences)"
        in (tmp_path / "m.h").read_text()
    )


def test_two_loops_one_of_them_masked_and_backwards_with_all_outputs(tmp_path):
    code = check((DATA / "two_loops.tflite").read_bytes(), tmp_path)
    assert code.count("for (int32_t t = 0; t < 7; ++t) {") == 2


@pytest.mark.slow
def test_that_file_as_exported_today(tmp_path):
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("export traces with TensorFlow")
    from keras_gates import GateLSTM, export

    keras.utils.set_random_seed(0)
    events = keras.Input((7, 3))
    masked = keras.layers.Masking()(events)
    hidden = GateLSTM(5, formulation="article", return_sequences=True, go_backwards=True)(masked)
    model = keras.Model(events, keras.layers.Dense(2)(keras.layers.GRU(4)(hidden)))
    report = export(model, tmp_path, ["tflite", "c99"])
    assert report.lowering == "while"
    code = check((tmp_path / "model.tflite").read_bytes(), tmp_path / "again")
    assert code.count("for (int32_t t = 0; t < 7; ++t) {") == 2


def test_the_arithmetic_of_tflm_is_refused(tmp_path):
    with pytest.raises(ExportError, match=r"^TFLM does not run every loop: take arithmetic='litert'"):
        write_c99(PINNED.read_bytes(), tmp_path / "no", arithmetic="tflm")
    assert not (tmp_path / "no").exists()


def changed(change):
    """Return the pinned file after `change(model)`, with a checksum."""
    model = load(PINNED.read_bytes())
    change(model)
    return seal(dump(model))


def other_test(model):
    """GREATER instead of LESS in the condition."""
    from ai_edge_litert import schema_py_generated as schema

    condition = model.subgraphs[1]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.GREATER
    model.operatorCodes = [*model.operatorCodes, code]
    condition.operators[0].opcodeIndex = len(model.operatorCodes) - 1


def doubled(model):
    """A counter that is added to itself."""
    body = model.subgraphs[2]
    for operator in body.operators[:2]:
        operator.inputs = np.array([operator.inputs[0], operator.inputs[0]], np.int32)


def two_signatures(model):
    """The same signature under two names."""
    import copy

    model.signatureDefs = [*model.signatureDefs, copy.deepcopy(model.signatureDefs[0])]
    model.signatureDefs[1].signatureKey = b"other"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_test, r"^the C takes a loop that counts up to a constant only; export with lowering='unrolled'\.$"),
        (doubled, r"^the C takes a loop that adds a constant to its counter only; export with lowering='unrolled'\.$"),
        (two_signatures, r"^the C takes a file with one signature, this one has other, serve: export it again"),
    ],
)
def test_what_is_no_such_loop_is_refused_in_one_sentence(tmp_path, change, reason):
    with pytest.raises(ExportError, match=reason):
        write_c99(changed(change), tmp_path / "no")
    assert not (tmp_path / "no").exists()
