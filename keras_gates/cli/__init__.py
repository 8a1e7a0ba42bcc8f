"""``keras-gates``: train, export, look, completion, and on the device info, predict, stream and bench."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from keras_gates.cli import device

_DELEGATES = {
    "train": ("train a model of the zoo", "keras_gates.models.training"),
    "export": ("convert a .keras file to .tflite, SavedModel or C", "keras_gates.cli.export"),
    "c99": ("write a .tflite as C99 without a runtime", "keras_gates.cli.c99"),
    "fit": ("tell whether a model fits a microcontroller", "keras_gates.cli.fit"),
    "look": ("write an interactive report of what the gates of a model do", "keras_gates.cli.look"),
    "completion": ("print a script that completes commands in bash, zsh or fish", "keras_gates.cli.completion"),
}
_INTRODUCTION = """Train, export and run LSTM models whose gates have names.

  keras-gates train digits                    train a model of the zoo, export and verify it
  keras-gates export model.keras out/         convert a .keras file to .tflite, SavedModel or C
  keras-gates c99 model.tflite out/           write a .tflite as C99 without a runtime
  keras-gates fit model.tflite                tell whether it fits a microcontroller
  keras-gates look model.keras x.npy          write an interactive report of what its gates do
  keras-gates info model.tflite               show what is in the file
  keras-gates predict model.tflite x.npy      predict a batch
  keras-gates stream model.tflite x.csv       predict one event at a time, as on a sensor
  keras-gates bench model.tflite              measure latency and memory on this machine
  keras-gates completion bash                 print a script that completes these commands in a shell

info, predict, stream and bench need only NumPy and ai-edge-litert."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Command-line arguments without the program name; None takes those of the process.

    Returns:
        Exit status: 0, or 2 with the reason on standard error.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in _DELEGATES:
        try:
            return importlib.import_module(_DELEGATES[argv[0]][1]).main(argv[1:]) or 0
        except ImportError as error:  # a device has only the extra [edge]
            print(f'keras-gates {argv[0]}: {error}: pip install "keras-gates[train]"', file=sys.stderr)
            return 2
    return device.run(parser().parse_args(argv))


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; those of ``train`` and ``export`` have options in their own parsers."""
    root = argparse.ArgumentParser(
        prog="keras-gates", description=_INTRODUCTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root.add_argument("--version", action=_Version, nargs=0, help="print the version and stop")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (what, _) in _DELEGATES.items():
        commands.add_parser(name, help=f"{what}; see `keras-gates {name} --help`", add_help=False)
    device.add_commands(commands)
    return root


def command_parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command by its name."""
    root = argparse.ArgumentParser(prog="keras-gates")
    commands = root.add_subparsers()
    device.add_commands(commands)
    parsers = {}
    for name, (_, module) in _DELEGATES.items():
        module = "keras_gates.models.training.options" if name == "train" else module
        parsers[name] = importlib.import_module(module).parser()
    return {**parsers, **commands.choices}


class _Version(argparse.Action):
    """Looks the version up only if it is asked for, which takes a third of the start-up time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import keras_gates

        print(f"keras-gates {keras_gates.__version__}")
        parser.exit()
