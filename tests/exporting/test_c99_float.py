"""float32 files as C99: within 1e-6 of LiteRT, whole and event by event."""

import shutil

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the files are exported here")
pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
from exported import exported
from test_c99 import SANITIZED, Compiled, make

from keras_gates.exporting.c99.graph import graph_of
from keras_gates.exporting.c99.reference import answers, random_inputs
from keras_gates.exporting.c99.write import write_c99

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.mark.parametrize("name", ["float", "stream", "both_ways", "words"])
def test_float_files_agree_within_a_millionth(tmp_path, name):
    data = exported(name).data
    graph = graph_of(data)
    write_c99(data, tmp_path, name="m")
    selftest = make(tmp_path, f"CFLAGS={SANITIZED}")
    assert selftest.returncode == 0, selftest.stdout + selftest.stderr
    compiled = Compiled(tmp_path, "m", graph)
    samples = random_inputs(graph, 20, seed=3)
    for sample, expected in zip(samples, answers(data, graph, "litert", samples), strict=True):
        for got, wanted in zip(compiled.run(sample), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
