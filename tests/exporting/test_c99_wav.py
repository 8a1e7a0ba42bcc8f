"""docs/deploy.md from `load("speech", …)` to a word under an emulated Cortex-M4: every command of it, and the answers."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
pytest.importorskip("soundfile", reason="the page converts a recording with soundfile")
import soundfile

from keras_gates.edge.fixed_log_mel import FixedLogMel
from keras_gates.edge.sound import windows
from keras_gates.exporting.c99.cores import CORES
from keras_gates.exporting.c99.graph import graph_of
from keras_gates.exporting.c99.reference import answers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (all(map(shutil.which, CORES["m4"].tools)) and shutil.which("make") and shutil.which("keras-gates")),
        reason="needs Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi, qemu-system-arm, make, and keras-gates installed",
    ),
]
PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
LINE = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps():
    """The blocks of the section, in their order."""
    section = (
        PAGE.read_text(encoding="utf-8").split("### A word from a WAV, on an emulated Cortex-M4")[1].split("\n### ")[0]
    )
    return LINE.findall(re.sub(r"<!--.*?-->", "", section, flags=re.DOTALL))


def word(sound, data):
    """What the reference runtime says to a recording, int16 (samples,), after the front end in integers."""
    graph = graph_of(data)
    fixed = FixedLogMel(graph.description.frontend, graph.description.events[0])
    whole = windows([sound.astype("float32")], 256 + 60 * 128)[0].astype(np.int16)  # 61 events
    ((prediction,),) = answers(data, graph, "litert", [[fixed(whole)[None]]])
    return graph.description.labels[int(prediction[0].argmax())]


def recordings():
    """Spoken digits if the data set is there, else generated sound: pairs (samples, sample rate, word or nothing)."""
    try:
        import tensorflow_datasets as tfds

        rows = tfds.load("spoken_digit", split="train[:3]", download=False).as_numpy_iterator()
        return [(row["audio"].astype(np.int16), 8000, str(row["label"])) for row in rows]
    except Exception:  # whatever the data set's package raises if it has not been prepared
        random = np.random.default_rng(0)
        return [(random.integers(-3000, 3000, 6000).astype(np.int16), 8000, "")]


def test_every_command_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known, right, kinds = {}, [], [kind for kind, _ in steps()]
    assert kinds == ["python", "bash", "python", "bash"]
    (_, get), (_, build), (_, convert), (_, run) = steps()
    exec(get, known)
    commands = [line for line in build.splitlines() if not line.startswith("apt-get")]  # the tools are there
    assert len(commands) == 2
    for command in commands:
        done = subprocess.run(command, shell=True, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    for sound, rate, spoken in recordings():
        soundfile.write("recording.wav", sound, rate, subtype="PCM_16")
        exec(convert, known)
        done = subprocess.run(run, shell=True, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        said = re.search(r"word: (\w+)", done.stdout)
        assert said is not None, done.stdout
        assert said[1] == word(sound, Path("speech.tflite").read_bytes())
        right.append(not spoken or said[1] == spoken)
    assert sum(right) > len(right) / 2
