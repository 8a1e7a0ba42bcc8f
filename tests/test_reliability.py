"""What must not happen to a run: lost work, mixed files, silent NaN, code that runs because a file was loaded."""

import json
import os
import re
import resource
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from keras_gates.models.data.pipeline import from_arrays
from keras_gates.models.registry import UserError, ZooModel
from keras_gates.models.training import fitting, numbers, warm_start
from keras_gates.models.training import folder as folders

import keras_gates

ROOT = Path(__file__).parent.parent
WORKER = Path(__file__).with_name("distributed_worker.py")
RECIPE = {"epochs": 2, "batch_size": 8, "loss": "mse", "learning_rate": 0.01}


def run(*command, **options):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    return subprocess.run(
        [sys.executable, *map(str, command)], env=environment, capture_output=True, text=True, timeout=300, **options
    )


def weights(folder):
    with np.load(folder / "weights-0.npz", allow_pickle=False) as file:
        return [file[name] for name in file.files]


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
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


def tiny(x, y):
    model = keras.Sequential([keras.Input(x.shape[1:]), keras_gates.GateLSTM(2), keras.layers.Dense(1)])
    zoo = ZooModel(name="tiny", line="", task="", build=lambda: model, data=lambda: None, presets={}, recipe=RECIPE)
    return zoo, model, from_arrays((x, y), (x[:8], y[:8]), (x[:8], y[:8]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_is_found_in_the_data(value, tmp_path):
    x, y = np.zeros((32, 5, 3), "float32"), np.zeros((32, 1), "float32")
    x[20, 4, 1] = value
    zoo, model, data = tiny(x, y)
    with pytest.raises(UserError, match=r"training data of epoch 1 .* step 4, feature 1 of x is") as caught:
        fitting.fit(zoo, model, data, RECIPE, 0, tmp_path, 0)
    batch, example = map(int, re.search(r"batch (\d+), example (\d+)", str(caught.value)).groups())
    found = list(data.epoch(8, 0, 0).as_numpy_iterator())[batch][0][example, 4, 1]
    np.testing.assert_equal(found, np.float32(value))


def test_a_number_that_is_none_is_found_in_targets_and_dicts():
    batches = [({"a": np.zeros((2, 3))}, np.array([[1.0], [np.inf]]))]
    assert numbers.place(batches) == "batch 0, example 1, feature 0 of y is inf"
    assert (
        numbers.place([({"a": np.array([[np.nan]])}, np.zeros(1))]) == "batch 0, example 0, feature 0 of x['a'] is nan"
    )
    assert numbers.place([(np.zeros((2, 2)), np.zeros(2, "int32"))]) is None


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
    ours = ROOT / "keras_gates/exporting/children.py"  # reads what its own child process wrote into a pipe
    sources = [path for folder in ("keras_gates", "models") for path in (ROOT / folder).rglob("*.py") if path != ours]
    assert sources
    for path in sources:
        found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if risky.search(line)]
        assert not found, f"{path.relative_to(ROOT)}: {found}"


def small_model(seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((6, 3), name="events"), keras_gates.GateLSTM(4, name="memory")], name="small")


def test_exports_repeat_to_the_byte_and_two_at_once_do_not_mix(tmp_path):
    alone = {}
    for seed in (1, 2):
        keras_gates.export(small_model(seed), tmp_path / f"alone-{seed}", ["tflite"])
        alone[seed] = (tmp_path / f"alone-{seed}" / "model.tflite").read_bytes()
    assert alone[1] != alone[2]
    shared = tmp_path / "shared"
    failures = []

    def export(model):
        try:
            keras_gates.export(model, shared, ["tflite"])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=export, args=(model,)) for model in (small_model(1), small_model(2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert (shared / "model.tflite").read_bytes() in alone.values()
    assert json.loads((shared / "export.json").read_text())["files"]
    assert not [path for path in shared.rglob("*") if "tmp" in path.name]
