"""Any backend, on a CPU: the compiled C++ kernel of `keras_gates.native`. Nothing is compiled when a new shape arrives.

Half precision is computed in float32: a CPU has no arithmetic for it.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import keras
from keras import ops

from keras_gates import native
from keras_gates.loops.inputs import LoopInputs, LoopResult, Weights

BACKENDS = ("tensorflow", "jax", "torch")


@functools.cache
def _binding() -> Any:
    # Each binding imports its own backend.
    binding = importlib.import_module(f"keras_gates.native.{keras.backend.backend()}_binding")
    if keras.backend.backend() == "jax":
        binding.compute_elsewhere_by(_by_scan)
    return binding


def why_absent() -> str | None:
    """Return why the kernel cannot be used in this process with Keras' backend, or None if it can."""
    if keras.backend.backend() not in BACKENDS:
        return f"it is not for the {keras.backend.backend()} backend"
    return native.why_absent() or _binding().why_absent()


def why_not_here() -> str | None:
    """Return why what is being traced must not contain the kernel, or None if it may."""
    return None if why_absent() else _binding().why_not_here()


def run(inputs: LoopInputs) -> LoopResult:
    """Run gates that the kernel has, with tanh and sigmoid, over a sequence."""
    dtype = keras.backend.standardize_dtype(inputs.events.dtype)
    computed = dtype if dtype in ("float32", "float64") else "float32"
    arrays = {"events": inputs.events, "stm": inputs.stm, "ltm": inputs.ltm}
    arrays |= arrays_of(inputs.weights) if inputs.arrays is None else inputs.arrays
    as_events = inputs.events.dtype if computed == dtype else None  # the names of types are slow to compare
    outputs, stm, ltm = _binding().lstm(
        {
            name: array if array.dtype == as_events else _as(computed, array)
            for name, array in arrays.items()
            if array is not None
        },
        None if inputs.mask is None else _as("bool", inputs.mask),
        sequences=inputs.return_sequences,
        go_backwards=inputs.go_backwards,
        zeros=inputs.zero_output_for_mask,
        drawn=inputs.drawn,
    )
    if computed != dtype:
        outputs, stm, ltm = (ops.cast(result, dtype) for result in (outputs, stm, ltm))
    if not inputs.return_sequences:
        return outputs, ops.expand_dims(outputs, 1), [stm, ltm]
    return outputs[:, -1], outputs, [stm, ltm]


def _by_scan(arrays: dict[str, Any], mask: Any, **options: bool) -> tuple[Any, Any, Any]:
    """Compute plain gates by `scan`; arguments and results as of the binding's `lstm`."""

    def joint(name: str) -> Any:
        learn, forget, use = (arrays.get(f"{gate}_{name}") for gate in ("learn", "forget", "use"))
        if learn is None:
            return None
        ignore, candidate = ops.split(learn, 2, axis=-1)
        return ops.concatenate([ignore, forget, candidate, use], axis=-1)

    inputs = LoopInputs(
        arrays["events"],
        arrays["stm"],
        arrays["ltm"],
        Weights(
            joint("kernel"),
            joint("recurrent_kernel"),
            joint("bias"),
            arrays.get("kept_kernel"),
            arrays.get("kept_bias"),
        ),
        mask=mask,
        return_sequences=options["sequences"],
        go_backwards=options["go_backwards"],
        zero_output_for_mask=options["zeros"],
    )
    last, outputs, (stm, ltm) = importlib.import_module("keras_gates.loops.scan").run(inputs)  # imports JAX
    return outputs if options["sequences"] else last, stm, ltm


def _as(dtype: str, tensor: Any) -> Any:
    # A cast to the same type is an operation too, which in a short sequence takes as long as a part of the kernel.
    return tensor if keras.backend.standardize_dtype(tensor.dtype) == dtype else ops.cast(tensor, dtype)


def arrays_of(weights: Weights) -> dict[str, Any]:
    """Return the gates' own weights of weights that stand side by side, by their names for the kernel."""
    arrays = {"kept_kernel": weights.kept_kernel, "kept_bias": weights.kept_bias}
    for name in ("kernel", "recurrent_kernel", "bias"):
        joint = getattr(weights, name)
        if joint is not None:
            ignore, forget, candidate, use = ops.split(joint, 4, axis=-1)
            learn = ops.concatenate([ignore, candidate], axis=-1)
            arrays |= {f"learn_{name}": learn, f"forget_{name}": forget, f"use_{name}": use}
    return arrays


if keras.backend.backend() == "torch":
    import torch

    # torch.compile takes the answers instead of tracing how they are found.
    why_absent = torch.compiler.assume_constant_result(why_absent)
    why_not_here = torch.compiler.assume_constant_result(why_not_here)
