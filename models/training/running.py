"""One run of train.py from beginning to end."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from keras_gates.models import registry
from keras_gates.models.registry import Judgement, UserError
from keras_gates.models.training import distribution, options
from keras_gates.models.training import folder as folders
from keras_gates.models.training.distribution import Job

from keras_gates._quiet import quietly

INTERRUPTED = 130  # the exit status after Ctrl-C
INSIDE = 4  # test examples on the page that looks inside
PACKAGES = ("keras-gates", "keras", "tensorflow", "numpy", "ai-edge-litert", "tensorflow-datasets")


def main(argv: Sequence[str] | None = None) -> int:
    """What `python train.py` and `keras-gates train` do. Returns the exit status: 0, 2 for what the user can put right,
    130 after Ctrl-C.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    arguments = options.parser().parse_args(argv)
    try:
        if arguments.list:
            options.print_list()
            return 0
        with quietly():
            importlib.import_module("keras")
        if arguments.resume:
            folder, config = folders.to_resume(arguments.resume)
        else:
            folder, config = None, {**options.configuration(arguments), "arguments": argv}
        if arguments.compare:
            return compare(config, arguments.out, folder)
        job = distribution.start(arguments.distribute, arguments.devices, arguments.hosts, arguments.process_id)
        with contextlib.ExitStack() as locks:
            return train(config, arguments.out, folder, job, locks)
    except OSError as error:
        print(f"train.py: {error}. What earlier epochs and runs wrote is untouched.", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2


def train(config: dict[str, Any], out: str, folder: Path | None, job: Job, locks: contextlib.ExitStack) -> int:
    """Trains, judges, exports, verifies and reports; `folder` is that of an interrupted run to continue, `locks` gets what
    holds the run's folder while it is written."""
    if folder is not None and job.writes:
        locks.enter_context(folders.held(folder))
    import keras
    from keras_gates.models.training import fitting, report

    zoo = registry.find(config["model"])
    fitting.set_seed(config["seed"])
    data = zoo.data(config["data"], config["data_dir"], config["seed"], **config["data_arguments"])
    with job.scope():
        model = zoo.build(**{**config["build"], **data.build})
    job.check(model)
    if config["from_weights"]:
        from keras_gates.models.training.warm_start import start_from

        print(start_from(model, config["from_weights"], zoo.name, config["preset"]))
    config.setdefault("backend", keras.backend.backend())
    if job.writes:
        if folder is None:
            folder = folders.start(out, zoo.name)
            locks.enter_context(folders.held(folder))
            folders.write_json(folder / "config.json", config)
        print(f"{zoo.name} ({config['preset']}): {zoo.line}")
        print(f"{model.count_params():,} weights, data: {data.name}, seed {config['seed']}, folder: {folder}")
    try:
        keeper = fitting.fit(zoo, model, data, config["recipe"], config["seed"], folder, verbose(), job)
        job.leave()
    except KeyboardInterrupt:
        print(stopped(folder))
        return INTERRUPTED
    except UserError:
        if job.writes:
            folders.discard(folder)
        raise
    except Exception as error:
        if job.processes > 1 and not isinstance(error, OSError):
            job.lost(error, folder)
        raise
    if not job.writes:
        return 0
    if keras.backend.backend() != "tensorflow":
        locks.close()
        return go_on_under_tensorflow(folder)
    judgement, exports = finish(zoo, model, data, config, folder)
    epochs = f"Kept: epoch {keeper.best_epoch + 1} of {len(keeper.history)}, by {keeper.monitor}."
    report.draw_curves(keeper.history, keeper.monitor, keeper.best_epoch, folder / "curves.png")
    report.write_report(folder / "report.md", zoo, config, data, model.count_params(), judgement, exports, epochs)
    folders.write_json(
        folder / "metrics.json",
        {
            "config": config,
            "versions": versions(),
            "data": {name: getattr(data, name) for name in ("name", "attribution", "licence", "split")},
            "parameters": model.count_params(),
            "scores": judgement.scores,
            "best_epoch": keeper.best_epoch + 1,
            "history": keeper.history,
            "exports": exports.rows,
            "export_failures": exports.failures,
            "export_reports": [report.to_dict() for report in exports.reports],
        },
    )
    folder = folders.finish(folder)
    keeper.clean(folder)
    report.print_results(judgement, exports, folder / "report.md")
    return 1 if exports.failures else 0


def go_on_under_tensorflow(folder: Path) -> int:
    """Judges and exports what another backend has trained: a run whose epochs are done is resumed by what comes next."""
    print("Trained; the exports are TensorFlow's work:")
    command = [sys.executable, "-m", "keras_gates.models.training", "--resume", str(folder)]
    return subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "tensorflow"}, check=False).returncode


def finish(zoo: Any, model: Any, data: Any, config: dict[str, Any], folder: Path) -> tuple[Judgement, Any]:
    """What is measured once a model is trained: the judgement and the exports."""
    from keras_gates.models.training import deploying, judging

    model.save(folder / "model.keras")
    judgement = (zoo.judge or judging.judge)(model, data, folder)
    exports = deploying.deploy(zoo, model, data, config, folder) if config["export"] else deploying.Exports()
    look_inside(zoo, model, data, folder / "report.html")
    return judgement, exports


def look_inside(zoo: Any, model: Any, data: Any, path: Path) -> None:
    """The page on which what every gate did with a few test examples can be followed event by event."""
    import keras_gates

    x, y = data.telling(INSIDE)
    keras_gates.report(
        model,
        x,
        path,
        truth=y.tolist() if data.labels else None,
        labels=data.labels,
        vocabulary=data.vocabulary,
        title=f"{zoo.name}: {zoo.line}",
    )


def compare(config: dict[str, Any], out: str, folder: Path | None = None) -> int:
    """Trains what the model's `compare` names, and writes one report of all; `folder` is that of one to continue."""
    from keras_gates.models.training import report

    zoo = registry.find(config["model"])
    if zoo.compare is None:
        able = ", ".join(name for name in registry.names() if registry.find(name).compare)
        raise UserError(f"{zoo.name} has no --compare; these have: {able}")
    if folder is None:
        folder = folders.start(out, f"{zoo.name}-compare")
        folders.write_json(folder / "config.json", config)
    with folders.held(folder):
        try:
            judgement = zoo.compare(config, folder, verbose())
        except KeyboardInterrupt:
            print(f"\nStopped. Go on: python train.py --compare --resume {folder}")
            return INTERRUPTED
        report.write_comparison(folder / "report.md", zoo, config, judgement)
        scores = {"config": config, "versions": versions(), "scores": judgement.scores}
        folders.write_json(folder / "metrics.json", scores)
        (folder / "config.json").unlink()
        folder = folders.finish(folder)
    print(f"report: {folder / 'report.md'}")
    return 0


def stopped(folder: Path) -> str:
    """What is said after Ctrl-C."""
    best = folder / "best.keras"
    if not best.exists():
        return f"\nStopped before the first epoch ended: nothing is kept yet.\nStart again: python train.py --resume {folder}"
    history = folders.read_json(folder / "state.json")["history"]
    return f"\nStopped after {len(history)} epochs. The best model so far: {best}\nGo on: python train.py --resume {folder}"


def verbose() -> int:
    """Keras' progress bars on a terminal, a line an epoch elsewhere."""
    return 1 if sys.stdout.isatty() else 2


def versions() -> dict[str, str]:
    """Of everything that the numbers may depend on."""
    found = {"python": platform.python_version(), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
