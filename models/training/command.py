"""`python train.py` and `keras-gates train`: from the command line to an exit status."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from keras_gates._quiet import look_for_devices, quietly
from keras_gates.models.registry import UserError
from keras_gates.models.training import memory, options, output

INTERRUPTED = 130  # the exit status after Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run train.py with these arguments.

    Args:
        argv: the command line without the program's name; None is `sys.argv`.

    Returns:
        The exit status: 0; 1 if a file could not be exported; 2 after an error that the user can correct, printed in one
        line; 130 after Ctrl-C.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    arguments = options.parser().parse_args(argv)
    try:
        with output.chosen(arguments) as answer:
            if arguments.list:
                _late("listing").print_list()
                answer(_late("listing").models())
                return 0
            if arguments.model == "check":
                answer(_late("checking").check(arguments))
                return 0
            if arguments.path:
                raise UserError(f"unexpected {arguments.path!r}; to train on your files: --data {arguments.path}")
            memory.keep_freed_memory()
            with quietly():
                running = _late("running")
                look_for_devices()
            return running.run(arguments, argv, answer)
    except OSError as error:
        if arguments.verbose:
            traceback.print_exception(error)
        print(f"train.py: {error}. Files of earlier epochs and runs are unchanged.", file=sys.stderr)
        return 2
    except UserError as error:
        if arguments.verbose:
            traceback.print_exception(error)
        print(f"train.py: {error}", file=sys.stderr)
        return 2


def program() -> NoReturn:
    """Run `main` and end the process. After Ctrl-C it ends at once, because interrupted TensorFlow threads occasionally
    abort the process during Python's own shutdown."""
    status = main()
    if status == INTERRUPTED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _late(name: str) -> ModuleType:  # --help needs neither rich nor Keras, --list no Keras
    return importlib.import_module(f"keras_gates.models.training.{name}")
