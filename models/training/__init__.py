"""`python train.py`: data → `model.fit` → scores → export → verification → report, one job per file.

command        `main`: command line to exit status; errors become one line
options        the command line, and the `RunConfig` it becomes
output         `--json`, `--quiet`, `--verbose`
listing        `--list`
checking       `train.py check`
run_config     the configuration of one run, as config.json
running        one run in five stages: prepare, train, evaluate, export, report
recipe         default values of a recipe; optimizer and learning rate
fitting        `model.fit`, reproducible and resumable
finite         stops at NaN and infinity, and names the place
warm_start     starts from existing weights
distribution   several devices or processes
judging        scores and pictures for models without their own
baselines      simple models for the same data
deploying      exports, loaded again and compared with Keras
report         learning curves, report.md, the table on the screen
clock          how long each stage took
memory         keeps freed memory for the next step
folder         the run folder: named, locked, renamed when complete
"""

from keras_gates.models.training.command import main, program

__all__ = ["main", "program"]
