"""Which loop runs a sequence: asked with what is statically known, answered with a name and a reason.

| loop | backend | what it is |
|---|---|---|
| `general` | any | `keras.layers.RNN` over the cell: gates of one's own, a dropout mask for every gate |
| `portable` | any | all events projected in one matmul, then Keras' loop over the rest; the backend's own gradient |
| `compiled` | TensorFlow | the whole loop compiled by XLA, hand-written gradient, two halves of the batch side by side |
| `scan` | JAX | `lax.scan` with a hand-written gradient |
| `fused` | PyTorch | PyTorch's own LSTM (oneDNN on a CPU) |
| `stepped` | PyTorch | few operations a step, hand-written gradient: the article form, masks |
| `cudnn` | any, on a GPU | the cuDNN LSTM that Keras uses with this backend |

The figures behind the rule are in docs/performance.md.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any

LOOPS = ("auto", "general", "portable", "compiled", "scan", "fused", "stepped", "cudnn")
FAST = {"tensorflow": ("compiled",), "jax": ("scan",), "torch": ("fused", "stepped")}  # the first that can, runs
FLOATS = ("float16", "bfloat16", "float32", "float64")

WORTH_COMPILING = 2**20  # multiplications a gate: below, compiling (about a second) is not earned back soon
USUAL = 32  # what a size that is not known statically is taken for


@dataclass(frozen=True)
class Problem:
    """What a choice may depend on; sizes are None where they are not known statically."""

    backend: str
    formulation: str
    batch: int | None
    time: int | None
    features: int
    units: int
    dtype: str
    activation: str
    recurrent_activation: str
    use_bias: bool = True
    masked: bool = False
    training: bool = False
    own_gates: bool = False
    masks_per_gate: bool = False
    unroll: bool = False
    go_backwards: bool = False
    return_sequences: bool = False
    use_cudnn: bool | str = "auto"
    gpu: bool = False
    loop: str = "auto"

    @property
    def multiplications(self) -> int:
        """About how many multiplications one gate takes over the whole sequence."""
        return (self.batch or USUAL) * (self.time or USUAL) * self.units * ((self.features or self.units) + self.units)


@dataclass(frozen=True)
class Choice:
    """The loop that runs, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def choose(problem: Problem) -> Choice:
    """The loop for `problem`.

    Raises:
        ValueError: the loop asked for by name, or cuDNN with `use_cudnn=True`, cannot run this problem.
    """
    if problem.loop != "auto":
        why_not = _why_not(problem.loop, problem)
        if why_not:
            raise ValueError(
                f"loop={problem.loop!r} cannot run here: {why_not}. Use loop='auto', which takes '{_best(problem).name}'."
            )
        return Choice(problem.loop, "asked for")
    if problem.use_cudnn is True and _why_not("cudnn", problem):
        raise ValueError(
            f"use_cudnn=True, but cuDNN cannot run here: {_why_not('cudnn', problem)}. Use use_cudnn='auto'."
        )
    return _best(problem)


def _best(problem: Problem) -> Choice:
    needs_cell = _why_not("portable", problem)
    if needs_cell:
        return Choice("general", needs_cell)
    if problem.use_cudnn in ("auto", True) and not _why_not("cudnn", problem):
        return Choice("cudnn", "a GPU with cuDNN, and nothing it cannot do")
    why_not: str | None = f"there is no other for the {problem.backend} backend"
    for loop in FAST.get(problem.backend, ()):
        why_not = _why_not(loop, problem)
        if why_not:
            continue
        if loop == "compiled" and problem.multiplications < WORTH_COMPILING:
            return Choice("portable", "too small to earn back a second of compiling")
        return Choice(loop, f"the fastest with {problem.backend} ({problem.formulation} form)")
    return Choice("portable", str(why_not))


def _why_not(loop: str, problem: Problem) -> str | None:
    """What keeps `loop` from running `problem`, or None."""
    if loop == "general":
        return None
    if problem.own_gates:
        return "the cell holds gates of its own"
    if problem.masks_per_gate:
        return "every gate has a dropout mask of its own (recurrent_dropout, or implementation=1)"
    if loop == "portable":
        return None
    if loop != "cudnn" and loop not in FAST.get(problem.backend, ()):
        return f"it is not for the {problem.backend} backend"
    if (problem.activation, problem.recurrent_activation) != ("tanh", "sigmoid"):
        return f"the activations are {problem.activation} and {problem.recurrent_activation}, not tanh and sigmoid"
    if problem.dtype not in FLOATS:
        return f"no gradient is written for {problem.dtype}"
    if problem.unroll:
        return "unroll=True asks for the steps one by one"
    if loop == "fused":
        return _why_not_one_operator(problem)
    if loop == "cudnn":
        return _why_not_cudnn(problem)
    return None


def _why_not_one_operator(problem: Problem) -> str | None:
    if problem.formulation != "standard":
        return "no library has an operator for the article form"
    if problem.masked:
        return "it takes no mask"
    return None


def _why_not_cudnn(problem: Problem) -> str | None:
    if not problem.gpu:
        return "there is no GPU"
    if problem.use_cudnn is False:
        return "use_cudnn=False"
    if not problem.use_bias:
        return "it wants a bias"
    if problem.dtype == "bfloat16" and problem.backend == "tensorflow":
        return "TensorFlow's takes no bfloat16"
    if problem.backend == "jax" and problem.go_backwards:
        return "Keras' way of going backwards with it on JAX gives the outputs in another order"
    if problem.backend == "tensorflow" and problem.formulation == "standard":
        return None
    return _why_not_one_operator(problem)


@functools.cache
def has_gpu(backend: str) -> bool:
    """Whether `backend` computes on a GPU here."""
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_logical_devices("GPU"))
    if backend == "jax":
        import jax

        return jax.default_backend() == "gpu"
    if backend == "torch":
        import torch

        return torch.cuda.is_available()
    return False


def run(name: str, events: Any, stm: Any, ltm: Any, weights: Any, **options: Any) -> tuple[Any, Any, list[Any]]:
    """Run the loop `name`; see `keras_gates.loops.portable.run` for arguments and result."""
    return importlib.import_module(f"keras_gates.loops.{name}").run(events, stm, ltm, weights, **options)
