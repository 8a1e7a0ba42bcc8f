"""One run of train.py in five stages: prepare, train, evaluate, export, report. Each takes values and returns a value."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras

import keras_gates
from keras_gates._files import write_json
from keras_gates._quiet import without_native_log
from keras_gates.models import registry
from keras_gates.models.registry import Judgement, UserError, ZooModel
from keras_gates.models.training import (
    baselines,
    deploying,
    distribution,
    fitting,
    integers,
    judging,
    options,
    output,
    report,
    warm_start,
)
from keras_gates.models.training import folder as folders
from keras_gates.models.training.clock import FIRST_STEP, TRAINING, Clock
from keras_gates.models.training.command import INTERRUPTED
from keras_gates.models.training.deploying import Exports
from keras_gates.models.training.distribution import Job
from keras_gates.models.training.fitting import Keeper
from keras_gates.models.training.output import Answer
from keras_gates.models.training.recipe import ADAPTABLE, DEFAULTS, adapted
from keras_gates.models.training.run_config import RunConfig
from keras_gates.quantization.aware import float_model

HTML_EXAMPLES = 4  # test examples in report.html
PACKAGES = ("keras-gates", "keras", "tensorflow", "numpy", "ai-edge-litert", "tensorflow-datasets")


@dataclass(frozen=True)
class Prepared:
    """Data and a fresh model, ready for training.

    Attributes:
        zoo: the model's description.
        data: a `keras_gates.models.data.pipeline.Data`.
        model: a `keras.Model`, not compiled.
    """

    zoo: ZooModel
    data: Any
    model: Any


def run(arguments: argparse.Namespace, argv: Sequence[str], answer: Answer = lambda results: None) -> int:
    """Do what the command line asks for: start or resume a run, or compare.

    Args:
        arguments: parsed.
        argv: as they were given.
        answer: called with the results of a finished run (`output.results_of`).

    Returns:
        The exit status.
    """
    if arguments.resume:
        folder, config = folders.to_resume(arguments.resume)
    else:
        folder, config = None, dataclasses.replace(options.configuration(arguments), arguments=tuple(argv))
    if arguments.compare:
        return compare(config, arguments.out, folder, answer)
    job = distribution.start(arguments.distribute, arguments.devices, arguments.hosts, arguments.process_id)
    return train(config, arguments.out, folder, job, answer, output.flags_of(arguments))


def train(
    config: RunConfig,
    out: str,
    folder: Path | None,
    job: Job,
    answer: Answer = lambda results: None,
    flags: Sequence[str] = (),
) -> int:
    """Run the five stages.

    Args:
        config: what to train.
        out: where a new run folder is created.
        folder: of the interrupted run to resume; None starts a new one.
        job: which process of a distributed training this is.
        answer: called with the results.
        flags: of the command line, for a process that exports what another backend trained.

    Returns:
        The exit status.
    """
    clock = Clock()
    with contextlib.ExitStack() as lock:
        if folder is not None and job.writes:
            lock.enter_context(folders.locked(folder))
        with clock.stage("data"):
            task = prepare(config, job)
        config = dataclasses.replace(config, backend=config.backend or keras.backend.backend())
        config = for_its_size(config, task.data)
        if job.writes:
            if folder is None:
                folder = folders.start(out, task.zoo.name)
                lock.enter_context(folders.locked(folder))
                config.write(folder)
            print(f"{task.zoo.name} ({config.preset}): {task.zoo.line}")
            weights = f"{task.model.count_params():,} weights"
            print(f"{weights}, data: {task.data.name}, seed {config.seed}, folder: {folders.final_name(folder)}")
            for note in task.data.notes:
                print(f"  {note}")
            if config.data not in ("builtin", "tfds"):
                recipe = {**DEFAULTS, **config.recipe}
                print("  recipe: " + ", ".join(f"{name} {recipe[name]:.4g}" for name in ADAPTABLE if recipe[name]))
        try:
            with clock.stage(TRAINING):
                training = fit(task, config, folder, job)
        except KeyboardInterrupt:
            print(stopped(folder))
            return INTERRUPTED
        if not job.writes or folder is None:
            return 0
        if training.first_step.seconds is not None:
            clock.seconds[FIRST_STEP] = training.first_step.seconds
        if keras.backend.backend() == "tensorflow":
            if config.qat:
                print(f"Training in integers ({config.qat})")
                with clock.stage("training in integers"):
                    aware = integers.train_in_integers(task.zoo, task.model, task.data, config, verbosity())
                task = dataclasses.replace(task, model=aware)
            print("Scoring the test split")
            with clock.stage("scores"):
                judgement = evaluate(task, folder)
            print("Exporting, and comparing each file with Keras")
            with clock.stage("export"), without_native_log():
                exports = export(task, config, folder)
            print("Comparing with simple models")
            with clock.stage("simple models"):
                simple = compare_simple(task, config, judgement)
            print("Writing the report")
            folder = write_report(task, config, training, judgement, exports, simple, folder, clock)
            report.print_results(judgement, exports, folder / "report.md", simple)
            answer(output.results_of(folder))
            return 1 if exports.failures else 0
    return finish_with_tensorflow(folder, flags)  # outside: the other process takes the lock


def prepare(config: RunConfig, job: Job) -> Prepared:
    """Stage 1: load the data, build the model that fits it, copy the weights to start from."""
    zoo = registry.find(config.model)
    fitting.set_seed(config.seed)
    data = zoo.data(config.data, config.data_dir, config.seed, **config.data_arguments)
    with job.scope():
        model = zoo.build(**{**config.build, **data.build})
    job.check(model)
    if config.from_weights:
        print(warm_start.start_from(model, config.from_weights, zoo.name, config.preset))
    elif zoo.start is not None and {**DEFAULTS, **config.recipe}["linear_start"]:
        zoo.start(model, data)
    return Prepared(zoo, data, model)


def for_its_size(config: RunConfig, data: Any) -> RunConfig:
    """Return the configuration with its recipe adapted to the size of the data, if it may be."""
    examples = int(data.train.cardinality())
    if not config.adapt or data.batches is not None or examples <= 0:
        return dataclasses.replace(config, adapt=())
    return dataclasses.replace(config, recipe=adapted(config.recipe, examples, config.adapt), adapt=())


def fit(task: Prepared, config: RunConfig, folder: Path | None, job: Job) -> Keeper:
    """Stage 2: train; the model ends with the weights of its best epoch.

    Raises:
        UserError: the data or the loss are not finite, or the recipe is wrong. A folder without a finished epoch is removed.
    """
    try:
        keeper = fitting.fit(
            task.zoo, task.model, task.data, config.recipe, config.seed, folder, verbose=verbosity(), job=job
        )
        job.leave()
        return keeper
    except UserError:
        if job.writes and folder is not None:
            folders.discard(folder)
        raise
    except Exception as error:
        if job.processes > 1 and not isinstance(error, OSError):
            job.lost(error, folder)
        raise


def evaluate(task: Prepared, folder: Path) -> Judgement:
    """Stage 3: save the trained model and measure it on the test split; pictures go into the folder."""
    task.model.save(folder / "model.keras")
    return (task.zoo.judge or judging.judge)(task.model, task.data, folder)


def export(task: Prepared, config: RunConfig, folder: Path) -> Exports:
    """Stage 4: export the model and compare every file with Keras."""
    if not config.export:
        return Exports()
    return deploying.deploy(task.zoo, task.model, task.data, config, folder)


def compare_simple(task: Prepared, config: RunConfig, judgement: Judgement) -> list[dict[str, Any]]:
    """Stage 4b: score simple models on the same data; those of a forecast are among its scores."""
    if not config.baselines:
        return []
    known = [name.removesuffix(" mse") for name in judgement.scores if name.endswith(" mse")]
    if known:
        return [{"baseline": n, "score": "mse", "value": judgement.scores[f"{n} mse"], "seconds": 0.0} for n in known]
    return baselines.baselines(task.data)


def write_report(
    task: Prepared,
    config: RunConfig,
    training: Keeper,
    judgement: Judgement,
    exports: Exports,
    simple: Sequence[dict[str, Any]],
    folder: Path,
    clock: Clock,
) -> Path:
    """Stage 5: write report.html, report.md, the learning curves and metrics.json; return the folder's final name."""
    zoo, data, model = task.zoo, task.data, task.model
    if config.qat:
        model = float_model(model)  # whose gates can be traced
    x, y = data.illustrative(HTML_EXAMPLES)
    keras_gates.report(
        model,
        x,
        folder / "report.html",
        truth=y.tolist() if data.labels else None,
        labels=data.labels,
        vocabulary=data.vocabulary,
        title=f"{zoo.name}: {zoo.line}",
    )
    report.draw_curves(training.history, training.monitor, training.best_epoch, folder / "curves.png")
    epochs = f"Best epoch: {training.best_epoch + 1} of {len(training.history)}, by {training.monitor}."
    report.write_report(
        folder / "report.md", zoo, config, data, model.count_params(), judgement, exports, epochs, simple, clock.lines()
    )
    write_json(
        folder / "metrics.json",
        {
            "config": config.to_dict(),
            "versions": versions(),
            "data": {name: getattr(data, name) for name in ("name", "attribution", "licence", "split", "notes")},
            "parameters": model.count_params(),
            "scores": judgement.scores,
            "baselines": list(simple),
            "best_epoch": training.best_epoch + 1,
            "seconds": clock.seconds,
            "history": training.history,
            "exports": exports.rows,
            "export_failures": exports.failures,
            "export_reports": [one.to_dict() for one in exports.reports],
        },
    )
    folder = folders.finish(folder)
    training.clean(folder)
    return folder


def finish_with_tensorflow(folder: Path, flags: Sequence[str] = ()) -> int:
    """Evaluate and export a model that another backend trained: resume the run, all of whose epochs are done, in a process
    with the TensorFlow backend and these flags. Return its exit status."""
    print("Training finished. Exporting in a TensorFlow process:", flush=True)
    command = [sys.executable, "-m", "keras_gates.models.training", "--resume", str(folder), *flags]
    return subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "tensorflow"}, check=False).returncode


def compare(config: RunConfig, out: str, folder: Path | None = None, answer: Answer = lambda results: None) -> int:
    """Train the alternatives of a model and write one report about all of them.

    Args:
        config: what to train; its model needs a `compare`.
        out: where a new run folder is created.
        folder: of the interrupted comparison to resume.
        answer: called with the results.

    Returns:
        The exit status.

    Raises:
        UserError: the model has no `compare`.
    """
    zoo = registry.find(config.model)
    if zoo.compare is None:
        able = ", ".join(name for name in registry.names() if registry.find(name).compare)
        raise UserError(f"{zoo.name} has no --compare; these have: {able}")
    if folder is None:
        folder = folders.start(out, f"{zoo.name}-compare")
        config.write(folder)
    with folders.locked(folder):
        try:
            judgement = zoo.compare(config, folder, verbosity())
        except KeyboardInterrupt:
            print(f"\nStopped. To continue: python train.py --compare --resume {folder}")
            return INTERRUPTED
        report.write_comparison(folder / "report.md", zoo, config, judgement)
        scores = {"config": config.to_dict(), "versions": versions(), "scores": judgement.scores}
        write_json(folder / "metrics.json", scores)
        folders.forget_config(folder)
        folder = folders.finish(folder)
    print(f"report: {folder / 'report.md'}")
    answer(output.results_of(folder))
    return 0


def stopped(folder: Path | None) -> str:
    """Return what to print after Ctrl-C: what was saved, and how to continue."""
    if folder is None:
        return "\nStopped. The first process prints how to continue."
    best = folder / "best.keras"
    if not best.exists():
        progress, proceed = "before the end of the first epoch; nothing was saved", "start again"
    else:
        epochs = len((fitting.read_state(folder) or {"history": []})["history"])
        progress, proceed = f"after {epochs} epochs. Best model so far: {best}", "continue"
    return f"\nStopped {progress}\nTo {proceed}: python train.py --resume {folder}"


def verbosity() -> int:
    """Return Keras' `verbose`: progress bars on a terminal, one line per epoch elsewhere."""
    return 1 if sys.stdout.isatty() else 2


def versions() -> Mapping[str, str]:
    """Return the versions that the numbers of a run may depend on, by package."""
    versions = {"python": platform.python_version(), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
