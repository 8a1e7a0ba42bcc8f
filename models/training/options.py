"""What can be said to `python train.py`, and what `--list` answers."""

from __future__ import annotations

import argparse
import ast
import inspect
from typing import Any

from keras_gates.models import registry
from keras_gates.models.registry import UserError, ZooModel
from keras_gates.models.training.distribution import KINDS

from keras_gates.exporting.options import MODES, PRECISIONS, TARGETS

DEFAULT_MODEL = "show"
SIZES = ("keras", "dynamic", "int8")
EXAMPLES = """examples:
  python train.py                              the default model on built-in data, about two minutes
  python train.py --list                       every model, its presets and its scores
  python train.py digits --epochs 5            fewer passes over the data
  python train.py digits --data tfds --data-dir ../shared/tfds      the real MNIST
  python train.py speech --data my_words/      your own files
  python train.py --resume runs/digits-20260101-120000.unfinished   go on where Ctrl-C stopped it
"""


def parser() -> argparse.ArgumentParser:
    """The command line of train.py and `keras-gates train`."""
    made = argparse.ArgumentParser(
        prog="train.py",
        usage="python train.py [MODEL] [options]",
        description="Trains a model of the zoo, exports it, proves the exports, and writes it all to a folder of its own.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "model", nargs="?", metavar="MODEL", help=f"one of {', '.join(registry.names())}; default {DEFAULT_MODEL}"
    )
    made.add_argument("--list", action="store_true", help="show the models with their presets and scores, and stop")
    made.add_argument("--preset", help="a ready-made choice of sizes and settings (see --list)")

    data = made.add_argument_group("data")
    data.add_argument(
        "--data",
        default="builtin",
        metavar="SOURCE",
        help='"builtin" (the default), "tfds", or a path to your own files',
    )
    data.add_argument(
        "--data-dir", metavar="FOLDER", help="where TFDS data sets are kept; default ~/tensorflow_datasets"
    )

    training = made.add_argument_group("training")
    training.add_argument("--epochs", type=_positive, help="how often to go over the training data")
    training.add_argument("--batch-size", type=_positive, help="examples a training step")
    training.add_argument("--learning-rate", type=float, help="the highest step size of the optimizer")
    training.add_argument("--units", type=_positive, help="size of the memory")
    training.add_argument(
        "--formulation", choices=("standard", "article"), help="the LSTM of the textbooks, or that of the article"
    )
    training.add_argument(
        "--variant",
        metavar="GATES",
        help="gates from the literature: peephole, coupled, layer_norm, zoneout, projection, open_learn, …",
    )
    training.add_argument(
        "--seed", type=_seed, default=0, help="of all chance; the same seed gives the same weights (default 0)"
    )
    training.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other argument of the model's build or data function, or entry of its recipe; may be repeated",
    )
    training.add_argument(
        "--from-weights",
        metavar="FILE",
        help='start from a run folder, a .keras file, or "shipped": the weights of the zoo',
    )
    training.add_argument(
        "--resume", metavar="RUN", help="go on with an interrupted run; takes everything else from its folder"
    )
    training.add_argument("--compare", action="store_true", help="train the model's alternatives too, and compare them")

    scale = made.add_argument_group("more than one device")
    scale.add_argument(
        "--distribute",
        choices=KINDS,
        help="mirrored: over the devices of this machine (TensorFlow); jax: over processes and hosts (JAX)",
    )
    scale.add_argument(
        "--devices", type=_positive, metavar="N", help="for mirrored: how many; without a GPU, virtual CPU devices"
    )
    scale.add_argument(
        "--hosts", metavar="HOST:PORT,…", help="for jax: where each process runs; the first one writes the run's folder"
    )
    scale.add_argument("--process-id", type=_seed, metavar="N", help="for jax: which of the hosts this is, from 0")

    output = made.add_argument_group("output")
    output.add_argument("--out", default="runs", metavar="FOLDER", help="where run folders are made (default runs)")
    output.add_argument(
        "--precision", default="float32", help=f"of the .tflite: {', '.join(PRECISIONS)}; several with commas"
    )
    output.add_argument(
        "--mode",
        default="sequence",
        choices=MODES,
        help="the .tflite takes a whole sequence, or one event at a time",
    )
    output.add_argument("--target", default="cpu", choices=TARGETS, help="phone or computer, or a microcontroller")
    output.add_argument("--no-export", action="store_true", help="train and score only")
    return made


def configuration(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything a run depends on, as plain values: what metrics.json records and `--resume` reads again."""
    model = registry.find(arguments.model or DEFAULT_MODEL)
    preset, chosen = model.preset(arguments.preset)
    source = arguments.data if arguments.data in ("builtin", "tfds") else "files"
    build = dict(chosen.get("build", {}))
    data = dict(chosen.get("data", {}))
    recipe = {**model.recipe, **chosen.get("recipe", {}), **chosen.get("recipe_for", {}).get(source, {})}
    given = {name: getattr(arguments, name) for name in ("epochs", "batch_size", "learning_rate")}
    recipe.update({name: value for name, value in given.items() if value is not None})
    for name in ("units", "formulation", "variant"):
        if getattr(arguments, name) is not None:
            if name not in _arguments(model.build):
                raise UserError(f"{model.name} has no --{name}; it takes: {', '.join(_arguments(model.build))}")
            build[name] = getattr(arguments, name)
    precisions = arguments.precision.split(",")
    if unknown := [precision for precision in precisions if precision not in PRECISIONS]:
        raise UserError(f"precision must be of {', '.join(PRECISIONS)}; got {unknown[0]!r}")
    for setting in arguments.settings:
        _set(setting, model, build, data, recipe)
    return {
        "model": model.name,
        "preset": preset,
        "data": arguments.data,
        "data_dir": arguments.data_dir,
        "seed": arguments.seed,
        "build": build,
        "data_arguments": data,
        "recipe": recipe,
        "from_weights": arguments.from_weights,
        "precision": precisions,
        "mode": arguments.mode,
        "target": arguments.target,
        "export": not arguments.no_export,
    }


def _set(setting: str, model: ZooModel, build: dict, data: dict, recipe: dict) -> None:
    from keras_gates.models.training.fitting import DEFAULTS

    name, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"--set wants NAME=VALUE, for example --set dropout=0.3; got {setting!r}")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    places = ((build, _arguments(model.build)), (data, _arguments(model.data)[3:]), (recipe, tuple(DEFAULTS)))
    taken = [place.update({name: value}) for place, known in places if name in known]
    if not taken:
        known = sorted({word for _, words in places for word in words})
        raise UserError(f"{model.name} has nothing called {name!r} to set; there is: {', '.join(known)}")


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


def print_list() -> None:
    """What `--list` prints: of each model what it does and what it learns from, of each preset what it is, and the score
    and the sizes of its shipped weights."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table

    console = Console()
    console.print("[bold]python train.py MODEL --preset PRESET[/bold]")
    console.print("[green]score and sizes of the weights that are shipped[/green]")
    for name in registry.names():
        model = registry.find(name)
        console.print(f"\n[bold]{name}[/bold]: {model.line}")
        sources = {"built in": model.builtin, "TFDS": ", ".join(model.tfds), "your own": model.files}
        for kind, source in sources.items():
            if source:
                console.print(Padding(f"[dim]{kind}: {source}[/dim]", (0, 0, 0, 2)))
        table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
        for preset, chosen in model.presets.items():
            card = registry.card(name, preset)
            table.add_row(preset, chosen["about"])
            if card:
                score, value = next(iter(card["scores"].items()))
                sizes = {kind: card["sizes"][kind] / 1024 for kind in SIZES if kind in card["sizes"]}
                told = [
                    f"{score} {value:.4g}",
                    *(f"{kind} {size:.0f}\N{NO-BREAK SPACE}KB" for kind, size in sizes.items()),
                ]
                table.add_row("", f"[green]{' · '.join(told)}[/green]")
        console.print(table)
