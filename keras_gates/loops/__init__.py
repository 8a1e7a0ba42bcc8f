"""Running the plain cell over a whole sequence: one interface, one file a way of doing it, one place that chooses."""

from keras_gates.loops.select import LOOPS, Choice, Problem, choose, has_gpu, run

__all__ = ["LOOPS", "Choice", "Problem", "choose", "has_gpu", "run"]
