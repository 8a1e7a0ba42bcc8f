"""C99 without a runtime: compiled, run under sanitizers, and compared bit for bit with LiteRT's reference kernels and TFLM."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
from keras_gates.exporting.c99.graph import graph_of
from keras_gates.exporting.c99.reference import ReferenceRuntime, answers, random_inputs
from keras_gates.exporting.c99.write import write_c99
from keras_gates.exporting.report import ExportError

COMPILER = shutil.which("gcc")
WEIGHTS = Path(__file__).parents[2] / "models" / "weights"
DATA = Path(__file__).parents[1] / "data" / "pinned"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
SANITIZED = "-O1 -Werror -fsanitize=address,undefined -fno-sanitize-recover"
# between them every operator of the zoo's int8 files, event by event and whole; benchmarks/c99.py runs all files
FILES = ["gesture-nano", "speech-base", "digits-pixels", "show-lstm", "forecast-etth1-nano", "language-nano"]
FILES += ["text-questions-nano", "text-questions", "text-sentiment"]
# 16-bit activations, explicit memory, unrolled steps
EXPORTED = ["int16x8_micro", "int16x8_step", "int8_step", "int8_unrolled"]

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs gcc")


def zoo(name):
    return (WEIGHTS / f"{name}-int8.tflite").read_bytes()


def make(folder, *arguments):
    return subprocess.run(["make", "-s", "-C", folder, *arguments], capture_output=True, text=True, timeout=300)


class Compiled:
    """A model as a shared library, called through NumPy arrays."""

    def __init__(self, folder, name, graph):
        library = folder / f"{name}.so"
        subprocess.run([COMPILER, *STRICT, "-O2", "-fPIC", "-shared", folder / f"{name}.c", "-o", library], check=True)
        self.library, self.name, self.graph = ctypes.CDLL(str(library)), name, graph
        self.state = ctypes.create_string_buffer(1 << 20)

    def call(self, what, inputs, shapes):
        outputs = [np.empty(shape, v.dtype) for v, shape in zip(self.graph.outputs, shapes)]
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (*map(np.ascontiguousarray, inputs), *outputs)]
        return getattr(self.library, f"{self.name}_{what}")(self.state, *pointers), outputs

    def run(self, inputs):
        status, outputs = self.call("run", inputs, [v.shape for v in self.graph.outputs])
        assert status == 0
        return outputs

    def reset(self):
        getattr(self.library, f"{self.name}_reset")(self.state)


@pytest.mark.parametrize("arithmetic", ["litert", "tflm"])
@pytest.mark.parametrize("file", FILES)
def test_the_c_is_bit_equal_to_the_runtime(tmp_path, file, arithmetic):
    if arithmetic == "tflm":
        pytest.importorskip("tflite_micro", reason="the answers come from TFLM")
        if file == "text-questions":
            pytest.skip("TFLM does not run this file")
    data = zoo(file)
    graph = graph_of(data)
    write_c99(data, tmp_path, name="m", arithmetic=arithmetic)
    selftest = make(tmp_path, f"CFLAGS={SANITIZED}")
    assert selftest.returncode == 0, selftest.stdout + selftest.stderr
    samples = random_inputs(graph, 10, seed=1)
    samples += [[np.where(x > 0, 127, -128).astype(x.dtype) if x.dtype == np.int8 else x for x in samples[0]]]
    compiled = Compiled(tmp_path, "m", graph)
    for sample, expected in zip(samples, answers(data, graph, arithmetic, samples), strict=True):
        for got, wanted in zip(compiled.run(sample), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("arithmetic", ["litert", "tflm"])
@pytest.mark.parametrize("file", EXPORTED)
def test_other_lowerings_and_16_bits_are_bit_equal(tmp_path, file, arithmetic):
    if arithmetic == "tflm":
        pytest.importorskip("tflite_micro", reason="the answers come from TFLM")
    data = (DATA / f"{file}.tflite").read_bytes()
    graph = graph_of(data)
    if (file, arithmetic) == ("int16x8_micro", "litert"):
        with pytest.raises(ExportError, match="LiteRT runs no LSTM of int16; TFLM does"):
            write_c99(data, tmp_path / "no", arithmetic=arithmetic)
        return
    write_c99(data, tmp_path, name="m", arithmetic=arithmetic)
    selftest = make(tmp_path, f"CFLAGS={SANITIZED}")
    assert selftest.returncode == 0, selftest.stdout + selftest.stderr
    compiled = Compiled(tmp_path, "m", graph)
    samples = random_inputs(graph, 5, seed=1)
    for sample, expected in zip(samples, answers(data, graph, arithmetic, samples), strict=True):
        compiled.reset()
        calls = zip(*sample) if graph.memory else [sample]
        wanted = zip(*expected) if graph.memory else [expected]
        for inputs, outputs in zip(calls, wanted):
            status, got = compiled.call("push" if graph.memory else "run", inputs, [v.shape for v in graph.outputs])
            assert status == 0
            for one, other in zip(got, outputs, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("file", ["gesture-nano", "speech-nano"])
def test_a_stream_is_bit_equal_event_by_event(tmp_path, file):
    from keras_gates.edge.tflite import read

    data = zoo(file)
    graph = graph_of(data)
    write_c99(data, tmp_path, name="m")
    compiled = Compiled(tmp_path, "m", graph)
    compiled.reset()
    runtime = ReferenceRuntime(data, read(data), graph.description)
    features = graph.inputs[0].shape[2]
    events = np.random.default_rng(2).integers(-128, 128, (200, 1, 1, features)).astype(np.int8)
    for event in events:
        status, (got,) = compiled.call("push", [event], [graph.outputs[0].shape])
        assert status == 0
        np.testing.assert_array_equal(got, runtime.run([event])[0])


@pytest.mark.parametrize("arithmetic", ["litert", "tflm"])
def test_saturating_files_are_bit_equal(tmp_path, arithmetic):
    if arithmetic == "tflm":
        pytest.importorskip("tflite_micro", reason="the answers come from TFLM")
    random, limits = np.random.default_rng(1), 0
    for number in range(4):
        data, name = saturating(zoo("gesture-nano"), random), f"m{number}"
        graph = graph_of(data)
        write_c99(data, tmp_path / name, name=name, arithmetic=arithmetic)
        compiled = Compiled(tmp_path / name, name, graph)
        samples = random_inputs(graph, 5, seed=number)
        for sample, (wanted,) in zip(samples, answers(data, graph, arithmetic, samples), strict=True):
            np.testing.assert_array_equal(compiled.run(sample)[0], wanted)
            limits += np.isin(wanted, (-128, 127)).sum()
    assert limits > 100


def saturating(data, random):
    """The LSTM alone with other scales of weights and cell state, other zero points, and a clipped cell state."""
    from keras_gates.edge.tflite import seal
    from keras_gates.exporting.tflite.flatbuffer import dump, load

    model = load(data)
    graph = model.subgraphs[0]
    (op,) = [o for o in graph.operators if o.intermediates is not None and len(o.intermediates)]
    for i in range(1, 9):
        weights = graph.tensors[op.inputs[i]].quantization
        weights.scale = weights.scale * np.float32(2.0 ** random.uniform(-1, 3))
    graph.tensors[op.inputs[0]].quantization.zeroPoint = np.array([random.integers(-128, 128)])
    graph.tensors[op.inputs[19]].quantization.scale = np.array([2.0 ** -int(random.integers(9, 16))], np.float32)
    scale, zero = np.array([2.0 ** random.uniform(-9, -7)], np.float32), np.array([random.integers(-128, 128)])
    for number in (op.inputs[18], op.intermediates[4], op.outputs[0]):
        graph.tensors[number].quantization.scale = scale
        graph.tensors[number].quantization.zeroPoint = zero
    op.builtinOptions.cellClip = float(random.choice([0.0, 0.5, 3.0]))
    graph.inputs, graph.outputs, graph.operators = [int(op.inputs[0])], [int(op.outputs[0])], [op]
    model.signatureDefs, model.metadata = None, None
    return seal(dump(model))  # the checksum stands in a buffer, whatever the metadata are


@pytest.mark.parametrize(
    ("right", "wrong"), [("w[i] * x[i]", "w[i] * (x[i] + 1)"), ("memset(s->c2, 0", "memset(s->c2, 9")]
)
def test_the_selftest_sees_faults(tmp_path, right, wrong):
    write_c99(zoo("gesture-nano"), tmp_path)
    source = (tmp_path / "model.c").read_text()
    assert right in source
    (tmp_path / "model.c").write_text(source.replace(right, wrong))
    result = make(tmp_path, "CFLAGS=-O1")
    assert "FAILED" in result.stdout, result.stdout + result.stderr
    assert result.returncode != 0


def test_several_models_and_instances_in_one_program(tmp_path):
    for name in ("one", "two"):
        write_c99(zoo("gesture-nano" if name == "one" else "language-nano"), tmp_path, name=name)
    (tmp_path / "main.c").write_text(
        """#include "one.h"
#include "two.h"
#include <string.h>
int main(void)
{
    static one_state a, b;
    static two_state c;
    static const int8_t event[ONE_IN_STEP];
    static const int32_t token = 1;
    int16_t x[ONE_OUT_SIZE], y[ONE_OUT_SIZE], z[TWO_OUT_STEP];
    one_reset(&a), one_reset(&b), two_reset(&c);
    one_push(&a, event, x), one_push(&a, event, (int16_t *)0);
    two_push(&c, &token, z);
    one_push(&b, event, y);
    return memcmp(x, y, sizeof x) != 0;
}
"""
    )
    program = tmp_path / "main"
    subprocess.run([COMPILER, *STRICT, *SANITIZED.split(), *tmp_path.glob("[mot]*.c"), "-o", program], check=True)
    assert subprocess.run([program]).returncode == 0


def test_a_token_out_of_range_fails_the_call(tmp_path):
    data = zoo("text-questions-nano")
    graph = graph_of(data)
    write_c99(data, tmp_path, name="m")
    compiled = Compiled(tmp_path, "m", graph)
    tokens, lengths = random_inputs(graph, 1)[0]
    for wrong in (-1, 3600):
        changed = tokens.copy()
        changed[0, 7] = wrong
        assert compiled.call("run", [changed, lengths], [v.shape for v in graph.outputs])[0] == -1
    assert compiled.call("run", [tokens, np.full(1, 41, np.int32)], [v.shape for v in graph.outputs])[0] == -1
    assert compiled.call("run", [tokens, lengths], [v.shape for v in graph.outputs])[0] == 0


def test_a_file_without_c_is_refused_in_one_sentence_and_nothing_is_written(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(
        ExportError, match=r"^the file mixes float32 and int8 .*: export with precision='int8' or 'float32'.$"
    ):
        write_c99((WEIGHTS / "digits-rows-dynamic.tflite").read_bytes(), out)
    with pytest.raises(ExportError, match=r"expected a \.tflite file"):
        write_c99(b"no file at all, but long enough", out)
    with pytest.raises(ExportError, match="its checksum does not match"):
        write_c99(zoo("gesture-nano").replace(b"sequence", b"sequenca", 1), out)
    with pytest.raises(ValueError, match="arithmetic must be of auto, litert, tflm; got 'arm'"):
        write_c99(zoo("gesture-nano"), out, arithmetic="arm")
    assert not out.exists()


def test_the_command_writes_and_refuses(tmp_path, capsys):
    from keras_gates.cli import main

    file = str(WEIGHTS / "gesture-nano-int8.tflite")
    assert main(["c99", file, str(tmp_path / "out"), "--name", "wave"]) == 0
    assert "wave_run and wave_push" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"wave.h", "wave.c", "selftest.c", "Makefile"}
    assert main(["c99", str(tmp_path / "none.tflite"), str(tmp_path / "no")]) == 2
    assert "none.tflite" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_export_writes_it(tmp_path):
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("export traces with TensorFlow")
    from keras_gates import GateLSTM, export

    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(60, 6, 3)).astype("float32")
    model = keras.Sequential([keras.Input((6, 3)), GateLSTM(4), keras.layers.Dense(2, activation="softmax")])
    report = export(model, tmp_path, ("c99",), "int8", calibration=x)
    assert report.files["c99"] == str(tmp_path / "c99")
    selftest = make(tmp_path / "c99", f"CFLAGS={SANITIZED}")
    assert selftest.returncode == 0, selftest.stderr
