"""The command line of `python train.py`, and the `RunConfig` it becomes."""

from __future__ import annotations

import argparse
import ast
import inspect
from typing import Any

from keras_gates.edge.times import FILLS
from keras_gates.exporting.options import MODES, PRECISIONS, TARGETS
from keras_gates.models import registry
from keras_gates.models.gate_variants import VARIANTS
from keras_gates.models.registry import UserError, ZooModel
from keras_gates.models.training import recipe as recipes
from keras_gates.models.training.distribution import KINDS
from keras_gates.models.training.run_config import RunConfig

DEFAULT_MODEL = "show"
QAT = ("int8", "int4")
EXAMPLES = """examples:
  python train.py                              the default model on built-in data, about two minutes
  python train.py --list                       every model with its presets and scores
  python train.py digits --epochs 5            fewer epochs
  python train.py digits --data tfds                                MNIST instead of the small built-in digits
  python train.py check my_words/              what is in your own files
  python train.py speech --data my_words/      train on them
  python train.py --resume runs/digits-20260101-120000.unfinished   continue after Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of train.py's command line, which `keras-gates train` shares."""
    command = argparse.ArgumentParser(
        prog="train.py",
        usage="python train.py [MODEL] [options]",
        description="Train a model of the zoo, export it, compare the exported files with Keras, and write a report. Every "
        "run has its own folder.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "model", nargs="?", metavar="MODEL", help=f"one of {', '.join(registry.names())} (default: {DEFAULT_MODEL})"
    )
    command.add_argument(
        "path",
        nargs="?",
        metavar="DATA",
        help="after the word check: your files, which are read and described, not trained on",
    )
    command.add_argument("--list", action="store_true", help="list the models with their presets and scores, and exit")
    command.add_argument("--preset", help="named set of sizes and training settings, see --list (default: the first)")

    data = command.add_argument_group("data")
    data.add_argument(
        "--data",
        default="builtin",
        metavar="SOURCE",
        help='"builtin", "tfds", or a path to your files (default: builtin)',
    )
    data.add_argument(
        "--data-dir", metavar="FOLDER", help="folder of the TFDS data sets (default: ~/tensorflow_datasets)"
    )
    data.add_argument(
        "--group",
        metavar="COLUMN",
        help="column, such as a person, of which no value is in two parts; in a folder: name",
    )
    data.add_argument(
        "--split", choices=("random", "time"), help="of your files: random, or the last ones for the test"
    )
    data.add_argument("--fill", choices=FILLS, help="how missing times of a series are filled in")

    training = command.add_argument_group("training")
    training.add_argument("--epochs", type=_positive, help="training epochs")
    training.add_argument("--batch-size", type=_positive, help="batch size")
    training.add_argument("--learning-rate", type=float, help="peak learning rate")
    training.add_argument("--units", type=_positive, help="LSTM units")
    training.add_argument(
        "--formulation",
        choices=("standard", "article"),
        help="LSTM equations: as in Keras, or as in the article that names the gates (default: standard)",
    )
    training.add_argument("--variant", metavar="GATES", help=f"gate variant: {', '.join(VARIANTS)}")
    training.add_argument(
        "--seed", type=_seed, default=0, help="random seed; the same seed reproduces the same weights (default: 0)"
    )
    training.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set an argument of the model's build or data function, or an entry of its recipe; repeatable",
    )
    training.add_argument(
        "--from-weights",
        metavar="FILE",
        help='initial weights: a run folder, a .keras file, or "shipped" for the zoo\'s own',
    )
    training.add_argument(
        "--resume", metavar="RUN", help="continue an interrupted run; all other settings come from its folder"
    )
    training.add_argument(
        "--compare", action="store_true", help="train the model's alternatives as well, and compare them"
    )

    scale = command.add_argument_group("distributed training")
    scale.add_argument(
        "--distribute",
        choices=KINDS,
        help="mirrored: all devices of this machine (TensorFlow); jax: several processes or hosts (JAX)",
    )
    scale.add_argument(
        "--devices", type=_positive, metavar="N", help="mirrored: number of devices; without a GPU, virtual CPU devices"
    )
    scale.add_argument(
        "--hosts", metavar="HOST:PORT,…", help="jax: address of every process; the first one writes the run folder"
    )
    scale.add_argument("--process-id", type=_seed, metavar="N", help="jax: index of this process in --hosts, from 0")

    output = command.add_argument_group("output")
    output.add_argument("--out", default="runs", metavar="FOLDER", help="where run folders are created (default: runs)")
    output.add_argument(
        "--precision",
        default="float32",
        help=f"of the .tflite file: {', '.join(PRECISIONS)}; comma-separated for several files (default: float32)",
    )
    output.add_argument(
        "--mode",
        default="sequence",
        choices=MODES,
        help="each call of the .tflite takes a whole sequence, or one event of a stream (default: sequence)",
    )
    output.add_argument(
        "--target", default="cpu", choices=TARGETS, help="cpu: phone or computer; micro: microcontroller (default: cpu)"
    )
    output.add_argument(
        "--qat",
        nargs="?",
        const="int8",
        choices=QAT,
        help="then train briefly in integers, and export a file that computes just that: int8, or int4 with two weights per byte",
    )
    output.add_argument("--no-baselines", action="store_true", help="do not train simple models for comparison")
    output.add_argument("--no-export", action="store_true", help="train and evaluate only")
    output.add_argument("--quiet", action="store_true", help="print errors only")
    output.add_argument(
        "--json", action="store_true", help="print the results as one JSON object, and the progress on standard error"
    )
    output.add_argument(
        "--verbose", action="store_true", help="show log output of TensorFlow and LiteRT, and tracebacks"
    )
    return command


def configuration(arguments: argparse.Namespace) -> RunConfig:
    """Return the configuration that parsed arguments describe: the model's recipe, changed by the preset, then by the
    preset's settings for the data source, then by the command line.

    Raises:
        UserError: a model, preset, argument or precision does not exist.
    """
    model = registry.find(arguments.model or DEFAULT_MODEL)
    preset, settings = model.preset(arguments.preset)
    source = arguments.data if arguments.data in ("builtin", "tfds") else "files"
    build = dict(settings.get("build", {}))
    data = dict(settings.get("data", {}))
    recipe = {**model.recipe, **settings.get("recipe", {}), **settings.get("recipe_for", {}).get(source, {})}
    for name in ("epochs", "batch_size", "learning_rate"):
        if getattr(arguments, name) is not None:
            recipe[name] = getattr(arguments, name)
    for name in ("units", "formulation", "variant"):
        if getattr(arguments, name) is not None:
            if name not in _arguments(model.build):
                raise UserError(
                    f"{model.name} has no --{name}; its arguments are: {', '.join(_arguments(model.build))}"
                )
            build[name] = getattr(arguments, name)
    for name in ("group", "split", "fill"):
        if getattr(arguments, name) is not None:
            if name not in _arguments(model.data):
                raise UserError(f"the data of {model.name} have no --{name}")
            data[name] = getattr(arguments, name)
    precisions = arguments.precision.split(",")
    if unknown := [precision for precision in precisions if precision not in PRECISIONS]:
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}; got {unknown[0]!r}")
    if arguments.qat and arguments.precision not in ("float32", arguments.qat):
        raise UserError(
            f"--qat {arguments.qat} exports in {arguments.qat}; got --precision {arguments.precision}. Leave --precision out"
        )
    if arguments.qat and arguments.distribute:
        raise UserError(
            "--qat trains in one process; train with --distribute first, then with --from-weights and --qat"
        )
    for setting in arguments.settings:
        _set(setting, model, build, data, recipe)
    return RunConfig(
        model=model.name,
        preset=preset,
        data=arguments.data,
        data_dir=arguments.data_dir,
        seed=arguments.seed,
        build=build,
        data_arguments=data,
        recipe=recipe,
        adapt=_adaptable(arguments) if source == "files" else (),
        from_weights=arguments.from_weights,
        precision=(arguments.qat,) if arguments.qat else tuple(precisions),
        qat=arguments.qat,
        mode=arguments.mode,
        target=arguments.target,
        export=not arguments.no_export,
        baselines=not arguments.no_baselines,
    )


def _set(setting: str, model: ZooModel, build: dict, data: dict, recipe: dict) -> None:
    name, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"--set expects NAME=VALUE, for example --set dropout=0.3; got {setting!r}")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    places = (
        (build, _arguments(model.build)),
        (data, _arguments(model.data)[3:]),  # after source, data_dir and seed, which have options
        (recipe, tuple(recipes.DEFAULTS)),
    )
    targets = [place for place, names in places if name in names]
    if not targets:
        names = sorted({word for _, words in places for word in words})
        raise UserError(f"{model.name} has no setting {name!r}; it has: {', '.join(names)}")
    for target in targets:
        target[name] = value


def _adaptable(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The entries of the recipe that the command line does not give."""
    settings = {setting.partition("=")[0] for setting in arguments.settings}
    return tuple(n for n in recipes.ADAPTABLE if getattr(arguments, n, None) is None and n not in settings)


def _arguments(function: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or above, got {text!r}")
    return int(text)
