"""Any backend, on a CPU: the compiled C++ kernel of `keras_gates.native`. Nothing is compiled when a new shape arrives.

Half precision is computed in float32: a CPU has no arithmetic for it.
"""

from __future__ import annotations

import importlib
from typing import Any

import keras
from keras import ops

from keras_gates import native
from keras_gates.loops.inputs import LoopInputs, LoopResult

BACKENDS = ("tensorflow", "jax", "torch")


def _binding() -> Any:
    # Each binding imports its own backend.
    return importlib.import_module(f"keras_gates.native.{keras.backend.backend()}_binding")


def why_absent() -> str | None:
    """Return why the kernel cannot be used in this process with Keras' backend, or None if it can."""
    if keras.backend.backend() not in BACKENDS:
        return f"it is not for the {keras.backend.backend()} backend"
    return native.why_absent() or _binding().why_absent()


def why_not_here() -> str | None:
    """Return why what is being traced must not contain the kernel, or None if it may."""
    return None if why_absent() else _binding().why_not_here()


def run(inputs: LoopInputs) -> LoopResult:
    """Run the plain gates, or peephole or coupled ones, with tanh and sigmoid over a sequence."""
    dtype = keras.backend.standardize_dtype(inputs.events.dtype)
    computed = dtype if dtype in ("float32", "float64") else "float32"

    def as_computed(tensor: Any) -> Any:
        return None if tensor is None else ops.cast(tensor, computed)

    outputs, stm, ltm = _binding().lstm(
        as_computed(inputs.events),
        as_computed(inputs.stm),
        as_computed(inputs.ltm),
        [as_computed(weight) for weight in inputs.weights],
        None if inputs.mask is None else ops.cast(inputs.mask, "bool"),
        sequences=inputs.return_sequences,
        go_backwards=inputs.go_backwards,
        zeros=inputs.zero_output_for_mask,
        peephole=as_computed(inputs.peephole),
        coupled=inputs.coupled,
    )
    outputs, stm, ltm = (ops.cast(result, dtype) for result in (outputs, stm, ltm))
    if not inputs.return_sequences:
        return outputs, ops.expand_dims(outputs, 1), [stm, ltm]
    return outputs[:, -1], outputs, [stm, ltm]


if keras.backend.backend() == "torch":
    import torch

    # torch.compile takes the answers instead of tracing how they are found.
    why_absent = torch.compiler.assume_constant_result(why_absent)
    why_not_here = torch.compiler.assume_constant_result(why_not_here)
