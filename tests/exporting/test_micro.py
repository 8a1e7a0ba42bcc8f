"""The microcontroller kit: it compiles, and its self-test passes inside the TFLM that the tflite-micro wheel carries."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from exported import LABELS, X, exported

from keras_gates import EdgeModel

pytest.importorskip(
    "tflite_micro", reason="the kit is measured and tested in tflite-micro (pip install --pre tflite-micro)"
)
COMPILER = shutil.which("g++")
DECLARATIONS = Path(__file__).parents[1] / "support/tflm_declarations"
NAMES = ["float", "micro", "micro_step", "micro16", "article_int8", "words", "several"]
RUN = """
import ctypes, sys
import numpy
ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
sys.exit(ctypes.CDLL(sys.argv[2])._ZN5model8selftestEv() & 255)
"""


@pytest.fixture(scope="module", params=NAMES)
def kit(request, tmp_path_factory):
    from keras_gates.exporting.micro.kit import write_c_kit

    file = exported(request.param)
    kit = write_c_kit(file.data, tmp_path_factory.mktemp(request.param))
    return request.param, file, kit


def compiled(folder, *sources, library="kit.so"):
    command = [COMPILER, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, f"-I{DECLARATIONS}", *sources, "-o", library], cwd=folder, check=True)
    return folder / library


def selftest(library):
    """Exit status of the self-test inside the wheel's TFLM: 0, numbers that differ, 255 a failed call, below 0 a crash."""
    root = Path(importlib.util.find_spec("tflite_micro").origin).parent
    runtime = next(root.glob("python/tflite_micro/_runtime*.so"))
    return subprocess.run([sys.executable, "-c", RUN, runtime, library], capture_output=True, timeout=120).returncode


@pytest.mark.skipif(COMPILER is None, reason="needs g++")
def test_the_kit_compiles_and_its_selftest_passes_in_tflm(kit):
    name, _, written = kit
    folder = written.files[0].parent
    assert selftest(compiled(folder, "model.cc", "selftest.cc")) == 0, name
    subprocess.run([COMPILER, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-c", "main.cc"], cwd=folder, check=True)


def test_an_int8_stream_is_tested_over_several_calls_and_its_fused_form_warns():
    """TFLM built with CMSIS-NN clears the state at each call: the second call shows it."""
    import dataclasses

    from keras_gates.exporting.lowering import rules
    from keras_gates.exporting.model_inputs import Inputs
    from keras_gates.exporting.options import ExportRequest

    text = (Path(__file__).parents[1] / "data/pinned/c/selftest.cc").read_text()
    assert int(re.search(r"(\d+) golden calls", text).group(1)) > 2
    request = ExportRequest(
        model=keras.Sequential(),
        inputs=Inputs((), list),
        precision="int8",
        mode="stream",
        target="micro",
        calibration=X,
        lowering="fused",
    )
    fused, step = (rules.Lowering((rules.LoweringChoice("lstm", name, ""),)) for name in ("fused", "step"))
    assert "CMSIS-NN" in rules.warnings_of(request, fused)[0]
    assert not rules.warnings_of(request, step)
    assert not rules.warnings_of(dataclasses.replace(request, target="cpu"), fused)
    assert EdgeModel(exported("micro_step").path).description.lowering == "step"


@pytest.mark.skipif(COMPILER is None, reason="needs g++")
@pytest.mark.parametrize("fault", ["answer", "operator", "reset", "arena"])
def test_the_selftest_sees_faults(fault, tmp_path):
    from keras_gates.exporting.micro.kit import write_c_kit

    write_c_kit(exported("micro").data, tmp_path)
    edits = {
        "answer": ("selftest.cc", r"(const float prediction__0_0\[\] = \{\s*)", r"\g<1>9"),
        "operator": ("model.cc", r"    resolver\.AddSoftmax\(\);\n", ""),
        "reset": ("model.cc", r" \|\| interpreter->Reset\(\) != kTfLiteOk", ""),
        "arena": ("model.h", r"kArenaBytes = \d+", "kArenaBytes = 1024"),
    }
    path, pattern, replacement = edits[fault]
    text, count = re.subn(pattern, replacement, (tmp_path / path).read_text())
    assert count == 1
    (tmp_path / path).write_text(text)
    assert selftest(compiled(tmp_path, "model.cc", "selftest.cc")) != 0


def test_scales_labels_operators_and_bytes_are_those_of_the_file(kit):
    _, file, written = kit
    from keras_gates.edge.description import describe
    from keras_gates.edge.tflite import read

    header, code = written.files[0].read_text(), written.files[1].read_text()
    parsed = read(file.data)
    description = describe(parsed)
    block = code[code.index("kData[kDataBytes] = {") :]
    assert bytes(int(n) for n in re.findall(r"\d+", block)) == file.data
    scales = [float(s) for s in re.findall(r"Scale = ([-+.e\d]+)f;", header)]
    ports = [*description.events, *(port for _, port in description.predictions)]
    assert scales == [pytest.approx(port.tensor.scale, rel=1e-7) for port in ports if port.tensor.scale]
    assert len(written.operators) == len({operator.name for operator in parsed.subgraphs[0].operators})
    if description.labels:
        assert re.findall(r'"(\w+)"', header) == LABELS
    assert written.arena_bytes > written.arena_used > 0
    assert written.golden_from == "TFLM"


def test_tflm_agrees_with_litert_event_by_event():
    from keras_gates.edge import EdgeModel
    from keras_gates.edge.values import quantized, real
    from keras_gates.exporting.verify.tflm import run_tflm

    file = exported("micro")
    model = EdgeModel(file.path)
    port, (_, out) = model.description.events[0], model.description.predictions[0]
    calls = [[[quantized(port, event[None, None])] for event in x] for x in X[:3]]
    results, _ = run_tflm(file.data, calls)
    for x, sequence in zip(X, results):
        got = np.concatenate([real(out, outputs[0]) for outputs in sequence])
        np.testing.assert_allclose(got, model.stream().push(x), atol=1.01 / 256)  # a count of a logit


def test_a_file_that_only_tflm_runs_says_so_on_litert():
    from keras_gates.edge import EdgeError, EdgeModel

    with pytest.raises(EdgeError, match="TFLM"):
        EdgeModel(exported("micro16").path)


def test_what_tflm_does_not_have_is_an_error(tmp_path):
    import dataclasses

    from keras_gates.exporting.micro import kit
    from keras_gates.exporting.report import ExportError

    data = exported("float").data
    several = kit.read(data)
    twice = dataclasses.replace(several, signatures={"serve": 0, "step": 0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kit, "read", lambda _: twice)
        with pytest.raises(ExportError, match="one signature"):
            kit.write_c_kit(data, tmp_path)
    broken = data.replace(b'{"digest"', b'{"digesd"')
    with pytest.raises(ExportError, match="golden input"):
        kit.write_c_kit(broken, tmp_path, golden=[({"event": X[:1, :, :2]}, None)])
    assert not list(tmp_path.iterdir())


def test_names_of_operators_and_texts_fit_c():
    from keras_gates.exporting.micro.kit import _camel
    from keras_gates.exporting.micro.render import _c_text, _float, _line

    assert [_camel(name) for name in ("AVERAGE_POOL_2D", "REVERSE_V2", "FULLY_CONNECTED")] == [
        "AveragePool2D",
        "ReverseV2",
        "FullyConnected",
    ]
    assert _c_text('é"?\\') == r'"\303\251\042\077\134"'
    assert _line("a\n*/b\\") == "a?*/b?"
    assert [_float(v) for v in (1.0, 1e-8, 0.1)] == ["1.0f", "9.99999994e-09f", "0.100000001f"]
