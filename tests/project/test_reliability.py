"""What must not happen to a run: lost work, mixed files, silent NaN, code that runs because a file was loaded."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_gates
from keras_gates.edge import EdgeModel
from keras_gates.models.data.pipeline import from_arrays
from keras_gates.models.registry import UserError, ZooModel
from keras_gates.models.training import finite, fitting, main, warm_start
from keras_gates.models.training import folder as folders
from keras_gates.models.training.run_config import RunConfig

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).parents[1] / "support/distributed_worker.py"
RECIPE = {"epochs": 2, "batch_size": 8, "loss": "mse", "learning_rate": 0.01}


def run(*command, backend="tensorflow", **options):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": backend}
    return subprocess.run(
        [sys.executable, *map(str, command)], env=environment, capture_output=True, text=True, timeout=300, **options
    )


def weights(folder):
    with np.load(folder / "weights-0.npz", allow_pickle=False) as file:
        return [file[name] for name in file.files]


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.slow
def test_killed_twice_and_resumed_ends_with_the_same_weights_to_the_bit(tmp_path):
    """Once in the middle of an epoch, once between two of the files that an epoch writes."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    assert run(WORKER, whole, "alone").returncode == 0
    assert run(WORKER, broken, "alone", "--kill-in", 1).returncode == -9
    assert run(WORKER, broken, "alone", "--kill-at-write", 2).returncode == -9
    done = run(WORKER, broken, "alone")
    assert done.returncode == 0, done.stderr
    for one, other in zip(weights(whole), weights(broken)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on the size of files here")
@pytest.mark.slow
def test_a_full_disk_is_a_sentence_and_older_runs_stay(tmp_path):
    older = tmp_path / "digits-older"
    older.mkdir()
    (older / "report.md").write_text("older")
    limit = 16 * 1024
    done = run(
        ROOT / "train.py", "digits", "--units", 16, "--epochs", 1, "--no-export", "--out", tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "train.py: " in done.stderr
    assert "Traceback" not in done.stderr
    assert (older / "report.md").read_text() == "older"
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".unfinished")] == ["digits-older"]


def test_a_place_where_nothing_can_be_written_is_an_error_that_names_it(tmp_path):
    (tmp_path / "a_file").write_text("")
    for out in ("/proc/nowhere", tmp_path / "a_file"):
        with pytest.raises(UserError, match=re.escape(str(out))):
            folders.start(out, "digits")


def test_runs_that_start_at_once_get_folders_of_their_own(tmp_path):
    made = []
    threads = [threading.Thread(target=lambda: made.append(folders.start(tmp_path, "digits"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 16


def test_a_run_that_is_being_written_is_not_resumed_and_a_dead_writer_does_not_block(tmp_path, capsys):
    folder = folders.start(tmp_path, "digits")
    RunConfig(model="digits", preset="rows").write(folder)
    hold = "import sys, time, pathlib; from keras_gates.models.training import folder\n"
    hold += "with folder.locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    writer = subprocess.Popen([sys.executable, "-c", hold, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout.readline() == "held\n"
        assert main(["--resume", str(folder)]) == 2
        told = capsys.readouterr().err
        assert f"is being written by process {writer.pid} on " in told
        assert "--resume" in told
        assert (folder / "config.json").exists()
    finally:
        writer.kill()
        writer.wait()
    with folders.locked(folder):
        assert str(os.getpid()) in (folder / folders.LOCK).read_text()
    assert [path.name for path in folders.finish(folder).iterdir()] == ["config.json"]


FORBIDDEN = """
import os, sys
import keras, tensorflow
from keras_gates.exporting import pipeline
from keras_gates.cli import export
from keras_gates.models import registry
from keras_gates.models.training import folder, main, running
where = sys.argv[1]
keras.saving.load_model(where + "/model.keras")  # Python's own modules may be out of reach afterwards
os.setgid(65534)
os.setuid(65534)
try:
    folder.start(where, "digits")
except registry.UserError as error:
    print(error)
print(main(["--resume", where + "/digits-older.unfinished"]))
print(export.main([where + "/model.keras", where + "/exported"]))
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
def test_without_permission_there_is_a_sentence_and_everything_stays(tmp_path):
    older = tmp_path / "digits-older.unfinished"
    older.mkdir()
    RunConfig(model="digits", preset="rows").write(older)
    small_model(1).save(tmp_path / "model.keras")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for folder in (tmp_path, *tmp_path.parents[:3]):  # the third is a worker's, where several run
        folder.chmod(0o755)
    done = run("-c", FORBIDDEN, tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"cannot create a run folder in {tmp_path} (--out): Permission denied" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["2", "2"]
    assert re.search(r"^train\.py: .*Permission denied: '.*digits-older", done.stderr, re.MULTILINE)
    assert re.search(r"^keras-gates export: .*Permission denied: '.*exported'", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def tiny(x, y):
    model = keras.Sequential([keras.Input(x.shape[1:]), keras_gates.GateLSTM(2), keras.layers.Dense(1)])
    zoo = ZooModel(name="tiny", line="", task="", build=lambda: model, data=lambda: None, presets={}, recipe=RECIPE)
    return zoo, model, from_arrays((x, y), (x[:8], y[:8]), (x[:8], y[:8]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_is_found_in_the_data(value, tmp_path):
    x, y = np.zeros((32, 5, 3), "float32"), np.zeros((32, 1), "float32")
    x[20, 4, 1] = value
    zoo, model, data = tiny(x, y)
    with pytest.raises(UserError, match=r"epoch 1: the training data contain .* step 4, feature 1 of x is") as caught:
        fitting.fit(zoo, model, data, RECIPE, 0, tmp_path, 0)
    batch, example = map(int, re.search(r"batch (\d+), example (\d+)", str(caught.value)).groups())
    found = list(data.epoch(8, 0, 0).as_numpy_iterator())[batch][0][example, 4, 1]
    np.testing.assert_equal(found, np.float32(value))


def test_a_number_that_is_none_is_found_in_targets_and_dicts():
    batches = [({"a": np.zeros((2, 3))}, np.array([[1.0], [np.inf]]))]
    assert finite.place(batches) == "batch 0, example 1, feature 0 of y is inf"
    assert (
        finite.place([({"a": np.array([[np.nan]])}, np.zeros(1))]) == "batch 0, example 0, feature 0 of x['a'] is nan"
    )
    assert finite.place([(np.zeros((2, 2)), np.zeros(2, "int32"))]) is None


def test_a_loss_that_explodes_stops_the_run_and_keeps_its_state(tmp_path):
    x, y = np.ones((32, 5, 3), "float32"), np.full((32, 1), 1e30, "float32")
    zoo, model, data = tiny(x, y)
    with pytest.raises(UserError, match=r"epoch 1, batch 0: loss is inf"):
        fitting.fit(zoo, model, data, RECIPE, 0, tmp_path, 0)
    assert not list(tmp_path.glob("*.json"))


def test_a_keras_file_with_code_in_it_is_refused(tmp_path):
    ran = tmp_path / "ran"
    trace = str(ran)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: (open(trace, "w").close(), x)[1])])
    path = tmp_path / "model.keras"
    model.save(path)
    ran.unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"[Ll]ambda"):
        warm_start._load(path)
    command = "import sys; from keras_gates.cli import main; sys.exit(main())"
    done = run("-c", command, "export", path, tmp_path / "out")
    assert done.returncode != 0
    assert not ran.exists()
    assert not (tmp_path / "out" / "model.tflite").exists()


def test_nothing_in_the_sources_would_run_what_a_file_says():
    risky = re.compile(r"allow_pickle=True|safe_mode=False|enable_unsafe|pickle\.load|\beval\(|\bexec\(|yaml\.load\(")
    ours = ROOT / "keras_gates/exporting/subprocess_worker.py"  # reads what its own child process wrote into a pipe
    sources = [path for folder in ("keras_gates", "models") for path in (ROOT / folder).rglob("*.py") if path != ours]
    assert sources
    for path in sources:
        found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if risky.search(line)]
        assert not found, f"{path.relative_to(ROOT)}: {found}"


def small_model(seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.Input((6, 3), name="events"), keras_gates.GateLSTM(4, name="memory")], name=f"small_{seed}"
    )


def test_exports_repeat_to_the_byte_and_two_at_once_do_not_mix(tmp_path):
    """And a reader who looks all the while finds one of the two whole."""
    alone = {}
    for seed in (1, 2):
        keras_gates.export(small_model(seed), tmp_path / f"alone-{seed}", ["tflite"])
        alone[(tmp_path / f"alone-{seed}" / "model.tflite").read_bytes()] = f"small_{seed}"
    assert len(alone) == 2
    shared = shutil.copytree(tmp_path / "alone-1", tmp_path / "shared")
    failures = []

    def export(model):
        try:
            keras_gates.export(model, shared, ["tflite"])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=export, args=(model,)) for model in (small_model(1), small_model(2))]
    for thread in threads:
        thread.start()
    looked = 0
    while any(thread.is_alive() for thread in threads):
        assert (shared / "model.tflite").read_bytes() in alone
        assert json.loads((shared / "export.json").read_text())["name"] in alone.values()
        looked += 1
    assert looked > 10
    assert not failures
    assert json.loads((shared / "export.json").read_text())["name"] == alone[(shared / "model.tflite").read_bytes()]
    assert not [path for path in shared.rglob("*") if "tmp" in path.name or path.name.startswith(".")]


def test_a_checkpoint_is_whole_whenever_it_is_read(tmp_path):
    models = [small_model(seed) for seed in (1, 2)]
    keeper = fitting.Keeper(tmp_path, "loss", None)
    stop = threading.Event()

    def write():
        for epoch in range(1000):
            if stop.is_set():
                return
            model = models[epoch % 2]
            keeper.history.append({"loss": -float(epoch)})
            keeper._write(tmp_path, model, epoch)

    keeper.history.append({"loss": 1.0})
    keeper._write(tmp_path, models[0], 0)
    keeper.history.clear()
    thread = threading.Thread(target=write)
    thread.start()
    seen = set()
    try:
        for _ in range(20):
            loaded = keras.saving.load_model(tmp_path / "best.keras", compile=False).get_weights()
            same = [all(map(np.array_equal, loaded, model.get_weights())) for model in models]
            assert any(same)
            seen.add(same.index(True))
            state = json.loads((tmp_path / "state.json").read_text())
            assert state["history"]
    finally:
        stop.set()
        thread.join()
    assert len(seen) == 2


@pytest.mark.slow
def test_a_model_of_another_backend_is_exported_by_one_command(tmp_path):
    pytest.importorskip("jax", reason="the other backend here is JAX")
    train = """
import keras, keras_gates, numpy as np
model = keras.Sequential([keras.Input((6, 3)), keras_gates.GateLSTM(4), keras.layers.Dense(1)])
model.compile("adam", "mse")
x = np.random.default_rng(0).normal(size=(32, 6, 3)).astype("float32")
model.fit(x, x[:, 0, :1], epochs=2, verbose=0)
assert keras.backend.backend() == "jax"
model.save("model.keras")
np.save("x.npy", x)
np.save("y.npy", model.predict(x, verbose=0))
"""
    done = run("-c", train, cwd=tmp_path, backend="jax")
    assert done.returncode == 0, done.stderr
    command = "import sys; from keras_gates.cli import main; sys.exit(main())"
    done = run("-c", command, "export", "model.keras", "out", "--formats", "tflite", cwd=tmp_path, backend="jax")
    assert done.returncode == 0, done.stderr
    x, y = np.load(tmp_path / "x.npy"), np.load(tmp_path / "y.npy")
    np.testing.assert_allclose(EdgeModel(tmp_path / "out" / "model.tflite").predict(x), y, atol=1e-5)
