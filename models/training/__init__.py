"""`python train.py`: data → model.fit → scores → export → verification → report, one job a file.

options      the command line, and the plain configuration it becomes
fitting      model.fit, repeatable and resumable
judging      scores and pictures where a model does not bring its own
deploying    exports, loaded back and compared
reporting    curves, report.md, tables
folder       the run's folder, unfinished until it is whole
running      one run from beginning to end
"""

import os
import sys
from typing import NoReturn

from keras_gates.models.training.running import INTERRUPTED, main

__all__ = ["main", "program"]


def program() -> NoReturn:
    """`main` as a program. After Ctrl-C it ends at once: TensorFlow's threads, interrupted, now and then abort the
    process while Python takes itself down."""
    status = main()
    if status == INTERRUPTED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
