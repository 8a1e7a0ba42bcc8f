"""Where an export writes: odd paths, a process that is killed. Never half a file."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="export needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="verification needs ai-edge-litert")
if keras.backend.backend() != "tensorflow":
    pytest.skip("export traces with TensorFlow", allow_module_level=True)

import tensorflow as tf

from keras_gates import ExportError, GateLSTM, export
from keras_gates.edge import EdgeModel
from keras_gates.exporting import unfinished

KILLS = int(os.environ.get("KERAS_GATES_KILLS", "20"))


@pytest.mark.slow
def test_paths_with_spaces_umlauts_and_200_characters(tmp_path):
    model = keras.Sequential([keras.Input((6, 3)), GateLSTM(4)])
    x = np.random.default_rng(0).normal(size=(3, 6, 3)).astype("float32")
    out = tmp_path / "mit Leerzeichen" / "Größe & 'Maß'" / ("x" * 200)
    report = export(model, out, ["tflite", "saved_model"], name="größe 1")
    np.testing.assert_allclose(EdgeModel(out / "größe 1.tflite").predict(x), model(x), atol=1e-5)
    np.testing.assert_allclose(
        next(iter(tf.saved_model.load(str(out / "saved_model")).signatures["serve"](event=x).values())),
        model(x),
        atol=1e-5,
    )
    expected = ["größe 1.export.json", "größe 1.export.txt", "größe 1.tflite", "saved_model"]
    assert sorted(path.name for path in out.iterdir()) == sorted(expected)
    assert set(report.files.values()) == {str(out / "größe 1.tflite"), str(out / "saved_model")}


KILLED = """
import os, random, shutil, signal, sys, time
from pathlib import Path
import keras, tensorflow, keras_gates  # before the forks, which run TensorFlow's first operations

def export(formats):
    model = keras.Sequential([keras.Input((6, 3), name="event"), keras_gates.GateLSTM(4)])
    keras_gates.export(model, "out", formats)

def started(formats):
    process = os.fork()
    if process:
        return process
    try:
        export(formats)
    except keras_gates.ExportError as error:
        os.write(1, f"ExportError {error}\\n".splitlines()[0].encode() + b"\\n")
        os._exit(3)
    except BaseException as error:
        os.write(1, f"{type(error).__name__} {error}\\n".encode())
        os._exit(4)
    os._exit(0)

def worker_of(process):
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return int(children[0]) if children else None

moment, hidden = random.Random(int(sys.argv[2])), lambda: [p.name for p in Path("out").glob(".*")]
for number in range(int(sys.argv[1])):
    kind = ("SIGTERM", "SIGKILL", "worker", "SIGTERM", "SIGKILL")[number % 5]
    process = started(["tflite"] if number % 2 or kind == "worker" else ["saved_model"])
    time.sleep(moment.uniform(0.02, 2.5))
    if kind == "worker":
        if (worker := worker_of(process)) is not None:
            os.kill(worker, signal.SIGKILL)
    else:
        os.kill(process, getattr(signal, kind))
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    print(kind, status, len(hidden()), flush=True)
    if Path("out").exists():
        shutil.copytree("out", f"after/{number}")
process = started(["tflite", "saved_model"])
print("last", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), len(hidden()), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker in /proc")
def test_an_export_that_is_killed_leaves_no_half_file_and_nothing_hidden(tmp_path):
    """At 20 random moments, in turn by SIGTERM, by SIGKILL and by SIGKILL of its worker (KERAS_GATES_KILLS sets how many)."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(KILLS), "0"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kills = [line.split() for line in done.stdout.splitlines() if line.split()[0] in ("SIGTERM", "SIGKILL", "worker")]
    assert len(kills) == KILLS
    left = 0
    for kind, status, hidden in kills:  # a killed export leaves its folder until the next export
        assert status in {"SIGTERM": ("-15", "0"), "SIGKILL": ("-9", "0"), "worker": ("3", "0")}[kind], done.stdout
        assert int(hidden) <= left + (kind == "SIGKILL"), done.stdout
        left = int(hidden)
    assert done.stdout.splitlines()[-1].split() == ["last", "0", "0"]
    x, every = np.zeros((1, 6, 3), "float32"), {"export.json", "export.txt", "model.tflite", "saved_model"}
    for out in (tmp_path / "after").iterdir():
        assert {path.name for path in out.glob("[!.]*")} <= every
        for path in out.glob("*.tflite"):
            assert EdgeModel(path).predict(x).shape == (1, 4)
        for path in out.glob("*.json"):
            assert json.loads(path.read_text())["parameters"] == 4 * (4 * (3 + 4) + 4)
        for path in out.glob("saved_model"):
            assert {"saved_model.pb", "variables"} <= {part.name for part in path.iterdir()}
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == every


def test_a_limit_on_the_size_of_files_is_one_sentence_and_the_older_file_stays(tmp_path):
    """TensorFlow's own error for it is no OSError."""
    resource = pytest.importorskip("resource", reason="no limits on Windows")
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "older").write_text("older")
    model = keras.Sequential([keras.Input((6, 3)), GateLSTM(16)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
    try:
        with pytest.raises(ExportError, match=f"{tmp_path}.*File too large.*Make room") as raised:
            export(model, tmp_path, ["saved_model"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["saved_model", "older"]


def test_the_folder_of_a_dead_export_is_removed_and_that_of_a_running_one_stays(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = unfinished._host()
    names = [f".export_{host}_{dead.pid}_0123abcd", f".export_{host}_{os.getppid()}_0123abcd", ".export_mine"]
    for name in [*names, f".export_elsewhere_{dead.pid}_0123abcd"]:
        (tmp_path / name / "saved_model").mkdir(parents=True)
    with unfinished.unfinished_folder(tmp_path) as folder:
        assert folder.is_dir()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*names[1:], f".export_elsewhere_{dead.pid}_0123abcd"}


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_nothing_is_left(tmp_path):
    """The folder, then the temporary folder too, is a file system of 64 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        (disk / "tmp").mkdir()
        keras.Sequential([keras.Input((6, 3)), GateLSTM(32)]).save(tmp_path / "m.keras")
        command = [sys.executable, "-m", "keras_gates", "export", str(tmp_path / "m.keras")]
        for out, formats, temporary in (
            (disk / "out", "saved_model", tmp_path),
            (tmp_path / "o", "tflite", disk / "tmp"),
        ):
            done = subprocess.run(
                [*command, str(out), "--formats", formats],
                capture_output=True,
                text=True,
                env={**os.environ, "TMPDIR": str(temporary)},
            )
            assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, ""), done.stderr
            assert f"keras-gates export: {out}: the export cannot be written: No space left on device" in done.stderr
            assert not list(out.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)
