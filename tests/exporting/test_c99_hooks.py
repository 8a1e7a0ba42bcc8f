"""A board's own arithmetic in the C: its sums of products and its tanh take the place of the written ones."""

import shutil

import pytest

pytest.importorskip("tensorflow", reason="the files are exported here")
pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
from exported import exported
from test_c99 import make, zoo

from keras_gates.exporting.c99.write import write_c99

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

DOTS = """
static inline void own(const signed char *w, const short *x, int n, int rows, const int *bias, int *sum)
{
    __builtin_printf("own\\n");
    for (int row = 0; row < rows; ++row) {
        sum[row] = bias[row];
        for (int i = n; i-- > 0;)
            sum[row] += w[row * n + i] * x[i];
    }
}
"""
TANH = """
static inline float own(float x) { return __builtin_printf("own\\n"), __builtin_tanhf(x); }
"""


@pytest.mark.parametrize(("macro", "code"), [("GATES_DOTS", DOTS), ("GATES_TANH", TANH)])
def test_a_boards_own_function_gives_the_recorded_answers(tmp_path, macro, code):
    write_c99(zoo("gesture-nano") if macro == "GATES_DOTS" else exported("float").data, tmp_path, name="m")
    (tmp_path / "own.h").write_text(code)
    selftest = make(tmp_path, f"CFLAGS=-O1 -include own.h -D{macro}=own -Wno-conversion -Wl,--no-as-needed -lm")
    assert selftest.returncode == 0, selftest.stdout + selftest.stderr
    assert "own\n" in selftest.stdout
