"""`python train.py`: data → model.fit → scores → export → verification → report, one job a file.

options      the command line, and the plain configuration it becomes
fitting      model.fit, repeatable and resumable
judging      scores and pictures where a model does not bring its own
deploying    exports, loaded back and compared
reporting    curves, report.md, tables
folder       the run's folder, unfinished until it is whole
running      one run from beginning to end
"""

from keras_gates.models.training.running import main

__all__ = ["main"]
