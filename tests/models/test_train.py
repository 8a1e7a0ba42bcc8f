"""train.py: a run from beginning to end, the same again from the same seed, interrupted and resumed, and what users get wrong."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import FrozenInstanceError
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from printed_paths import missing

from keras_gates.models import UserError, find, registry
from keras_gates.models.training import fitting, folder, listing, main, options, recipe, running, warm_start
from keras_gates.models.training.averaged import AveragedWeights
from keras_gates.models.training.run_config import RunConfig

ROOT = Path(__file__).parents[2]
SMALL = ["digits", "--units", "6", "--set", "layers=1", "--batch-size", "256"]
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the zoo trains on TensorFlow")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    options = ["--epochs", "2", "--precision", "float32,dynamic", "--no-baselines", "--json"]
    with contextlib.redirect_stdout(io.StringIO()) as stdout, contextlib.redirect_stderr(io.StringIO()) as stderr:
        assert main([*SMALL, *options, "--out", str(out)]) == 0
    (made,) = out.iterdir()
    made.with_name("stdout").write_text(stdout.getvalue())
    made.with_name("stderr").write_text(stderr.getvalue())
    return made


def test_json_is_one_object_of_results_and_the_progress_is_on_standard_error(run):
    results, metrics = (json.loads(p.read_text()) for p in (run.with_name("stdout"), run / "metrics.json"))
    assert results["scores"] == metrics["scores"]
    assert [row["file"] for row in results["exports"]] == ["saved_model/", "model.tflite", "model-dynamic.tflite"]
    assert Path(results["report"]).is_file()
    assert results["folder"] == str(run)
    progress = run.with_name("stderr").read_text()
    assert "Epoch 2/2" in progress
    assert f"report: {run / 'report.md'}" in progress
    wrong, count = missing(progress, run)
    assert wrong == []
    assert count >= 5  # the folder, the exports' folder and files, the report


def test_a_run_leaves_all_it_promises_and_nothing_else(run):
    names = {path.name for path in run.iterdir()}
    promised = {"model.keras", "saved_model", "model.tflite", "metrics.json", "curves.png", "report.md", "tensorboard"}
    assert promised <= names
    assert not any("tmp" in name or name.startswith("epoch-") for name in names)
    assert not run.name.endswith(folder.UNFINISHED)


def test_metrics_say_what_was_done_and_how_well(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["config"]["build"]["units"] == 6
    assert metrics["config"]["recipe"]["epochs"] == 2
    assert metrics["versions"]["keras"] == keras.__version__
    assert len(metrics["history"]) == 2
    assert metrics["data"]["licence"] == "CC BY 4.0"
    seconds = metrics["seconds"]
    assert list(seconds) == ["data", "training", "first step", "scores", "export", "simple models"]
    assert 0 < seconds["first step"] < seconds["training"]
    assert f"| training | {seconds['training']:.1f} |" in (run / "report.md").read_text()
    model = keras.saving.load_model(run / "model.keras")
    x, y = find("digits").data().arrays("test", 300)
    accuracy = float((model.predict(x, verbose=0).argmax(-1) == y).mean())
    assert metrics["scores"]["accuracy"] == pytest.approx(accuracy, abs=1e-6)


def test_every_export_was_loaded_back_and_says_what_keras_says(run):
    rows = {row["file"]: row for row in json.loads((run / "metrics.json").read_text())["exports"]}
    assert set(rows) == {"saved_model/", "model.tflite", "model-dynamic.tflite"}
    assert rows["saved_model/"]["max_difference"] < 1e-5
    assert rows["model.tflite"]["max_difference"] < 1e-5
    for row in rows.values():
        assert row["samples"] == 300
        assert row["accuracy"] == pytest.approx(row["keras_accuracy"], abs=0.02)


def test_the_tflite_runs_in_the_plain_interpreter(run):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(run / "model.tflite"))
    interpreter.allocate_tensors()
    x, _ = find("digits").data().arrays("test", 1)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    answer = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    model = keras.saving.load_model(run / "model.keras")
    np.testing.assert_allclose(answer, model(x), atol=1e-5)


def test_the_report_shows_its_pictures_and_its_command(run):
    report = (run / "report.md").read_text()
    shown = [part.split(")")[0] for part in report.split("](")[1:]]
    assert shown
    assert all((run / name).exists() for name in shown)
    assert "python train.py digits --units 6" in report


def _fit(place, epochs, seed=0, stop_in=None, **settings):
    """Trains the small model; `stop_in` is the epoch in whose middle Ctrl-C comes."""
    zoo = find("digits")
    fitting.set_seed(seed)
    data = zoo.data()
    model = zoo.build(**data.build, units=5, dropout=0.5)
    settings = {**zoo.recipe, "epochs": epochs, "batch_size": 300, **settings}
    on_begin = fitting.Keeper.on_epoch_begin
    fit = model.fit

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if stop_in == self.epoch and batch == 1:
                raise KeyboardInterrupt

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

    model.fit = lambda *args, callbacks, **rest: fit(*args, callbacks=[*callbacks, Stop()], **rest)
    assert on_begin is fitting.Keeper.on_epoch_begin
    keeper = fitting.fit(zoo, model, data, settings, seed, place, verbose=0)
    return model, keeper


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path):
    models = []
    for number, seed in enumerate((3, 3, 4)):
        place = tmp_path / str(number)
        place.mkdir()
        models.append(_fit(place, 2, seed)[0])
    first, again, other = (model.get_weights() for model in models)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other))


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_interrupted_and_resumed_ends_where_the_uninterrupted_run_ends(tmp_path, average):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    model, keeper = _fit(whole, 4, average=average)
    with pytest.raises(KeyboardInterrupt):
        _fit(parts, 4, stop_in=2, average=average)
    assert (parts / "best.keras").exists()
    resumed, resumed_keeper = _fit(parts, 4, average=average)
    assert resumed_keeper.history == keeper.history
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), resumed.get_weights()))


def test_the_average_of_the_weights_is_validated_and_kept(tmp_path):
    """One weight under the loss −w·x has the gradient −1, so it grows by the learning rate in every step."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.8), lambda y, output: -keras.ops.mean(output))
    keeper = fitting.Keeper(tmp_path, "val_loss", None)
    ones = np.ones((6, 1))
    model.fit(
        ones,
        ones,
        batch_size=2,
        epochs=2,
        validation_data=(ones, ones),
        callbacks=[AveragedWeights(), keeper],
        verbose=0,
    )
    average, averages = 0.5, []  # the average starts as the weights after the first step
    for step in range(2, 7):
        average = 0.8 * average + 0.2 * 0.5 * step
        averages.append(average)
    np.testing.assert_allclose([-logs["val_loss"] for logs in keeper.history], [averages[1], averages[4]], rtol=1e-5)
    kept = keras.saving.load_model(tmp_path / "best.keras", compile=False).get_weights()
    np.testing.assert_allclose(kept[0].item(), averages[4], rtol=1e-5)


def test_the_best_epoch_is_kept_and_patience_ends_a_run(tmp_path):
    keeper = fitting.Keeper(tmp_path, "val_accuracy", patience=2)
    keeper.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    keeper.model.stop_training = False
    for epoch, accuracy in enumerate((0.5, 0.9, 0.7, 0.8)):
        assert not keeper.model.stop_training, epoch
        keeper.on_epoch_begin(epoch)
        keeper.model.set_weights([np.full((1, 1), epoch), np.zeros(1)])
        keeper.on_epoch_end(epoch, {"val_accuracy": accuracy})
    assert keeper.model.stop_training
    assert keeper.best_epoch == 1
    assert keras.saving.load_model(tmp_path / "best.keras").get_weights()[0].item() == 1


def test_ctrl_c_keeps_the_best_and_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-u", "train.py", *SMALL, "--epochs", "500", "--no-export", "--out", str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    heeds = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    child = subprocess.Popen(command, cwd=ROOT, text=True, env={**os.environ}, preexec_fn=heeds, **pipes)
    said = []
    for line in child.stdout:
        said.append(line)
        if "Epoch 3/500" in line:
            child.send_signal(signal.SIGINT)
            break
    try:
        said.append(child.communicate(timeout=120)[0])
    finally:
        child.kill()
    assert child.returncode == 130
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(folder.UNFINISHED)
    keras.saving.load_model(left / "best.keras")
    text = "".join(said)
    assert "Traceback" not in text
    assert f"--resume {left}" in text
    assert str(left / "best.keras") in text


def test_a_run_never_touches_another(tmp_path):
    made = [folder.start(tmp_path, "digits") for _ in range(3)]
    assert len(set(made)) == 3
    finished = folder.finish(made[0])
    assert finished.exists()
    assert folder.start(tmp_path, "digits") not in (*made, finished)


def test_weights_are_taken_over_where_they_fit(run):
    zoo = find("digits")
    model = zoo.build(height=8, width=8, units=6, classes=3)
    copied = warm_start.start_from(model, str(run), "digits", "rows")
    trained = keras.saving.load_model(run / "model.keras")
    for ours, theirs in zip(model.get_layer("memory_1").get_weights(), trained.get_layer("memory_1").get_weights()):
        np.testing.assert_array_equal(ours, theirs)
    assert "with initial weights: digit" in copied
    with pytest.raises(UserError, match="no layer"):
        warm_start.start_from(zoo.build(units=7), str(run), "digits", "rows")


def test_learning_rate_rises_then_falls_as_a_cosine():
    schedule = recipe.learning_rate({"learning_rate": 2.0, "schedule": "cosine", "warmup": 0.1}, 100)
    found = [float(schedule(step)) for step in (0, 5, 10, 55, 100)]
    np.testing.assert_allclose(found, [0.0, 1.0, 2.0, 1.0, 0.0], atol=1e-6)
    steady = recipe.learning_rate({"learning_rate": 2.0, "schedule": "constant", "warmup": 0.1}, 100)
    np.testing.assert_allclose([float(steady(step)) for step in (5, 10, 90)], [1.0, 2.0, 2.0], atol=1e-6)
    assert recipe.learning_rate({"learning_rate": 2.0, "schedule": "constant", "warmup": 0.0}, 100) == 2.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "there is no model 'nothing'"),
        (["digits", "--preset", "big"], "has no preset 'big'"),
        (["digits", "--data", "elsewhere"], 'reads "builtin" or "tfds", not \'elsewhere\''),
        (["digits", "--data", "tfds", "--data-dir", "/no/such/folder"], "there is no folder /no/such/folder"),
        (["digits", "--set", "colour=3"], "has no setting 'colour'"),
        (["digits", "--set", "colour"], "expects NAME=VALUE"),
        (["digits", "--from-weights", "shipment.keras"], "expects a run folder, a .keras file"),
        (["digits", "--set", "optimizer=newton"], 'optimizer must be "adam" or "sgd"'),
        (["digits", "--compare"], "has no --compare; these have: show"),
        (["--resume", "/no/run"], "there is no run folder /no/run"),
        (["digits", "--precision", "int3"], "precision must be one of"),
        (["digits", "--group", "person"], "the data of digits have no --group"),
        (["digits", "words/"], "to train on your files: --data words/"),
        (["check", "/no/such/data"], "there is no file or folder /no/such/data"),
        (["check"], "python train.py check DATA"),
    ],
)
def test_what_a_user_gets_wrong_is_told_in_one_line(arguments, words, capsys, tmp_path):
    assert main([*arguments, "--out", str(tmp_path / "runs")]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert not list(tmp_path.glob("runs/*"))


def test_check_reads_the_data_and_trains_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")  # --verbose sets it
    (tmp_path / "mails.csv").write_text("text,label\n" + "\n".join(f"mail {n},{'ab'[n % 2]}" for n in range(30)))
    (tmp_path / "shop.csv").write_text("date,sold\n" + "\n".join(f"2024-01-{day:02},{day}" for day in range(1, 31)) * 1)
    (tmp_path / "book.txt").write_text("to be or not to be " * 200)
    (tmp_path / "moves.csv").write_text("x,label\n" + "\n".join(f"{n},{'ab'[n // 10 % 2]}" for n in range(100)))
    for name, model, words in (
        ("mails.csv", "text", "30 texts, 20 / 4 / 6 for training"),
        ("moves.csv", "gesture", "channels x"),
        ("book.txt", "language", "different characters"),
    ):
        assert main(["check", str(tmp_path / name), "--out", str(tmp_path / "runs")]) == 0
        told = capsys.readouterr().out
        assert f"data for {model}" in told
        assert words in told
    options = ["--set", "history=5", "--set", "horizon=2"]
    assert main(["check", str(tmp_path / "shop.csv"), *options]) == 0
    assert "30 times from 2024-01-01 00:00:00 to 2024-01-30 00:00:00, frequency D" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "mails.csv"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["model"] == "text"
    assert any("30 texts" in note for note in answer["notes"])
    assert main(["check", str(tmp_path / "mails.csv"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["check", str(tmp_path / "none.csv"), "--quiet", "--json"]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert main(["check", str(tmp_path / "none.csv"), "--verbose"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_data_that_cannot_be_downloaded_is_told_in_one_line(capsys, tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")

    def offline(*args, **rest):
        raise ConnectionError("no network")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", offline)
    assert main(["digits", "--data", "tfds", "--data-dir", str(tmp_path)]) == 2
    assert "mnist is not in" in capsys.readouterr().err


def test_a_finished_run_is_not_resumed(run, capsys):
    assert main(["--resume", str(run)]) == 2
    assert f"--from-weights {run}" in capsys.readouterr().err


def test_help_and_list_name_every_model(capsys):
    listing.print_list()
    listed = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--help"])
    helped = capsys.readouterr().out
    for name in registry.names():
        assert name in listed
        assert name in helped


def test_the_list_tells_scores_and_sizes(capsys):
    listing.print_list()
    listed = capsys.readouterr().out
    card = registry.card("speech")
    size = f"{card['sizes']['keras'] / 1024:.0f}\N{NO-BREAK SPACE}KB"
    assert f"accuracy {card['scores']['accuracy']:.4g} · keras {size}" in listed
    assert main(["--list", "--json"]) == 0
    speech = json.loads(capsys.readouterr().out)["speech"]["presets"]
    assert speech[next(iter(speech))]["scores"] == card["scores"]


def test_the_given_options_reach_the_run():
    arguments = options.parser().parse_args(
        [*SMALL, "--epochs", "9", "--learning-rate", "0.5", "--formulation", "article", "--set", "dropout=0.1"]
    )
    config = options.configuration(arguments)
    assert config.recipe["epochs"] == 9
    assert config.recipe["learning_rate"] == 0.5
    assert config.recipe["batch_size"] == 256
    assert config.build == {"units": 6, "layers": 1, "formulation": "article", "dropout": 0.1}
    assert running.versions()["numpy"] == np.__version__


def test_a_configuration_is_read_as_it_was_written_also_from_an_older_run(tmp_path):
    arguments = options.parser().parse_args([*SMALL, "--precision", "float32,int8"])
    config = options.configuration(arguments)
    config.write(tmp_path)
    assert RunConfig.read(tmp_path) == config
    older = {
        "model": "digits", "preset": "rows", "data": "builtin", "data_dir": None, "seed": 3, "build": {"units": 6},
        "data_arguments": {}, "recipe": {"epochs": 2}, "from_weights": None, "precision": ["float32"], "mode": "sequence",
        "target": "cpu", "export": True, "arguments": ["digits", "--seed", "3"], "backend": "tensorflow",
    }  # fmt: skip
    assert RunConfig.from_dict(older).to_dict() == {**older, "adapt": [], "baselines": True, "qat": None}  # newer
    with pytest.raises(FrozenInstanceError):
        config.seed = 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "has no config.json"),
        ("{", "is not valid JSON"),
        ('{"model": "digits"}', "needs the entry 'preset'"),
        ('{"model": "digits", "preset": "rows", "colour": 3}', "unknown entry 'colour'"),
    ],
)
def test_a_configuration_that_is_not_one_is_told_in_one_line(content, words, tmp_path):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=words) as error:
        RunConfig.read(tmp_path)
    assert "\n" not in str(error.value)


def test_help_and_list_start_without_keras():
    code = (
        "import sys, contextlib, io; from keras_gates.models.training import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    main(['--list'])\n"
        "    try: main(['--help'])\n"
        "    except SystemExit: pass\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'torch', 'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_the_main_command_ends_with_a_report_and_no_log_lines(tmp_path):
    """`python train.py` as in the README, for one epoch."""
    command = [sys.executable, str(ROOT / "train.py"), "--epochs", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = tmp_path.iterdir()
    assert {"model.keras", "model.tflite", "report.md", "report.html"} <= {path.name for path in run.iterdir()}
    assert str(run / "report.md") in done.stdout
