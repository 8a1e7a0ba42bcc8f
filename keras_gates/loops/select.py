"""Which loop runs a sequence: chosen from what is statically known, with the reason.

| loop | backend | what it is |
|---|---|---|
| `general` | any | `keras.layers.RNN` over the cell: custom gates, a dropout mask for every gate |
| `portable` | any | all events projected in one matmul, then Keras' loop over the time steps; the backend's own gradient |
| `native` | any, on a CPU | a C++ kernel: the sequence is one operation, its gradient another; also the variants it has |
| `compiled` | TensorFlow | the whole loop compiled by XLA, hand-written gradient, two halves of the batch in parallel |
| `scan` | JAX | `lax.scan` with a hand-written gradient |
| `fused` | PyTorch | PyTorch's own LSTM (oneDNN on a CPU) |
| `stepped` | PyTorch | few operations per time step, hand-written gradient: the article form, masks |
| `cudnn` | any, on a GPU | the cuDNN LSTM that Keras uses with this backend |

The measurements behind the rule are in docs/performance.md.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from dataclasses import dataclass

from keras_gates.loops.inputs import LoopInputs, LoopResult

LOOPS = ("auto", "general", "portable", "native", "compiled", "scan", "fused", "stepped", "cudnn")
FAST = {
    "tensorflow": ("native", "compiled"),
    "jax": ("native", "scan"),
    "torch": ("native", "fused", "stepped"),
}  # the first that can run is chosen
FLOATS = ("float16", "bfloat16", "float32", "float64")

WORTH_COMPILING = 2**20  # multiplications per gate: below, a second of compiling is not earned back soon
USUAL = 32  # assumed for a size that is not known statically


@dataclass(frozen=True)
class SequenceProblem:
    """What the choice of a loop depends on. A size that is not known statically is None.

    Attributes:
        backend: Keras' backend: `"tensorflow"`, `"jax"`, `"torch"` or another.
        formulation: `"standard"` or `"article"`.
        batch: sequences, or None.
        time: time steps, or None.
        features: features of an event, or None.
        units: size of STM and LTM.
        dtype: the compute dtype.
        activation: name of one of Keras' activations, or `"own"`.
        recurrent_activation: likewise.
        use_bias: whether the gates have biases.
        masked: whether the sequence has a mask.
        training: whether the call is for training.
        custom_gates: whether a gate is not the plain one.
        kernel_gates: whether the native kernel has the custom gates (see `layers/kernel_gates.py`).
        masks_per_gate: whether dropout draws a mask for every gate.
        clips: whether what the events add to the gates' inputs is clipped.
        unroll: as for `keras.layers.RNN`.
        go_backwards: as for `keras.layers.RNN`.
        return_sequences: as for `keras.layers.RNN`.
        use_cudnn: `"auto"`, True or False.
        gpu: whether the backend computes on a GPU.
        loop: `"auto"`, or the name of a loop.
        no_kernel: why this process cannot use the native kernel, or None if it can.
        no_kernel_here: why what is being traced must not contain it, or None if it may.
    """

    backend: str
    formulation: str
    batch: int | None
    time: int | None
    features: int | None
    units: int
    dtype: str
    activation: str
    recurrent_activation: str
    use_bias: bool = True
    masked: bool = False
    training: bool = False
    custom_gates: bool = False
    kernel_gates: bool = False
    masks_per_gate: bool = False
    clips: bool = False
    unroll: bool = False
    go_backwards: bool = False
    return_sequences: bool = False
    use_cudnn: bool | str = "auto"
    gpu: bool = False
    loop: str = "auto"
    no_kernel: str | None = "the kernel is absent"
    no_kernel_here: str | None = None

    @property
    def multiplications(self) -> int:
        """The approximate number of multiplications of one gate over the whole sequence."""
        return (self.batch or USUAL) * (self.time or USUAL) * self.units * ((self.features or self.units) + self.units)


@dataclass(frozen=True)
class LoopChoice:
    """The loop that runs, and why.

    Attributes:
        name: one of `LOOPS` other than `"auto"`.
        reason: one clause.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def choose(problem: SequenceProblem) -> LoopChoice:
    """Return the loop for `problem`.

    Args:
        problem: what the layer is called on.

    Returns:
        The name of the loop and the reason.

    Raises:
        ValueError: the loop requested by name, or cuDNN with `use_cudnn=True`, cannot run this problem.
    """
    if problem.loop == "native" and problem.no_kernel_here and not _why_not("native", _elsewhere(problem)):
        # Not an error: a layer that runs natively can still be exported, or compiled by XLA as part of a model.
        return _best(problem)
    if problem.loop != "auto":
        why_not = _why_not(problem.loop, problem)
        if why_not:
            raise ValueError(
                f"loop={problem.loop!r} cannot run here: {why_not}. Use loop='auto', which takes '{_best(problem).name}'."
            )
        return LoopChoice(problem.loop, "requested")
    if problem.use_cudnn is True and _why_not("cudnn", problem):
        raise ValueError(
            f"use_cudnn=True, but cuDNN cannot run here: {_why_not('cudnn', problem)}. Use use_cudnn='auto'."
        )
    return _best(problem)


def _elsewhere(problem: SequenceProblem) -> SequenceProblem:
    return dataclasses.replace(problem, no_kernel_here=None)


def _best(problem: SequenceProblem) -> LoopChoice:
    why_not: str | None
    needs_cell = _why_not("portable", problem)
    if needs_cell and problem.kernel_gates:
        why_not = _why_not("native", problem)
        if not why_not:
            return LoopChoice("native", "the kernel has these gates")
        return LoopChoice("general", f"{needs_cell}; not native: {why_not}")
    if needs_cell:
        return LoopChoice("general", needs_cell)
    if problem.use_cudnn in ("auto", True) and not _why_not("cudnn", problem):
        return LoopChoice("cudnn", "a GPU with cuDNN, and nothing it cannot do")
    why_not = f"there is no other for the {problem.backend} backend"
    note = ""  # why the faster one does not run
    for loop in FAST.get(problem.backend, ()):
        why_not = _why_not(loop, problem)
        if why_not:
            note = f"; not native: {why_not}" if loop == "native" else note
            continue
        if loop == "compiled" and problem.multiplications < WORTH_COMPILING:
            return LoopChoice("portable", f"too small to earn back a second of compiling{note}")
        return LoopChoice(loop, f"the fastest with {problem.backend} ({problem.formulation} form){note}")
    return LoopChoice("portable", str(why_not))


def _why_not(loop: str, problem: SequenceProblem) -> str | None:
    """Return what keeps `loop` from running `problem`, or None."""
    if loop == "general":
        return "it runs the cell, which does not clip (saturation)" if problem.clips else None
    if problem.custom_gates and not (loop == "native" and problem.kernel_gates):
        return "the cell has custom gates"
    if problem.masks_per_gate:
        return "every gate has its own dropout mask (recurrent_dropout, or implementation=1)"
    if loop == "portable":
        return None
    if problem.clips:
        return "saturation clips the events' part of the gates' inputs in training"
    if loop != "cudnn" and loop not in FAST.get(problem.backend, ()):
        return f"it is not for the {problem.backend} backend"
    if (problem.activation, problem.recurrent_activation) != ("tanh", "sigmoid"):
        return f"the activations are {problem.activation} and {problem.recurrent_activation}, not tanh and sigmoid"
    if problem.dtype not in FLOATS:
        return f"no gradient is written for {problem.dtype}"
    if problem.unroll:
        return "unroll=True asks for the steps one by one"
    if loop == "native":
        return "there is a GPU, and it runs on a CPU" if problem.gpu else problem.no_kernel or problem.no_kernel_here
    if loop == "fused":
        return _why_not_one_operator(problem)
    if loop == "cudnn":
        return _why_not_cudnn(problem)
    return None


def _why_not_one_operator(problem: SequenceProblem) -> str | None:
    if problem.formulation != "standard":
        return "no library has an operator for the article form"
    if problem.masked:
        return "it takes no mask"
    return None


def _why_not_cudnn(problem: SequenceProblem) -> str | None:
    if not problem.gpu:
        return "there is no GPU"
    if problem.use_cudnn is False:
        return "use_cudnn=False"
    if not problem.use_bias:
        return "it needs a bias"
    if problem.dtype == "bfloat16" and problem.backend == "tensorflow":
        return "TensorFlow's does not support bfloat16"
    if problem.backend == "jax" and problem.go_backwards:
        return "on JAX, Keras returns its outputs in another order when going backwards"
    if problem.backend == "tensorflow" and problem.formulation == "standard":
        return None
    return _why_not_one_operator(problem)


@functools.cache
def has_gpu(backend: str) -> bool:
    """Return whether `backend` computes on a GPU on this machine."""
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


def run(name: str, inputs: LoopInputs) -> LoopResult:
    """Run the loop `name`.

    Args:
        name: one of `LOOPS` other than `"auto"` and `"general"`.
        inputs: events, memories, weights and options.

    Returns:
        `(last, outputs, [stm, ltm])`; see `keras_gates.loops.inputs.LoopResult`.
    """
    # Imported when it runs: each loop imports its own backend.
    return importlib.import_module(f"keras_gates.loops.{name}").run(inputs)
