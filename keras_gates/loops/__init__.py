"""Running the plain gates over a whole sequence: one way per file, `select` chooses between them."""

from keras_gates.loops.inputs import NO_WEIGHTS, LoopInputs, LoopResult, Weights
from keras_gates.loops.native import why_absent, why_not_here
from keras_gates.loops.select import LOOPS, LoopChoice, SequenceProblem, choose, has_gpu, run

__all__ = [
    "LOOPS",
    "NO_WEIGHTS",
    "LoopChoice",
    "LoopInputs",
    "LoopResult",
    "SequenceProblem",
    "Weights",
    "choose",
    "has_gpu",
    "run",
    "why_absent",
    "why_not_here",
]
