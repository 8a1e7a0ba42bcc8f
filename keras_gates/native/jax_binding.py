"""JAX: the kernel as two custom calls of XLA, with the gradient as `jax.custom_vjp`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import FrameType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np

from keras_gates import native
from keras_gates.native.structures import SIZES, WITH_GRADIENT, Call, functions, places, present

FORWARD, BACKWARD = "keras_gates_lstm", "keras_gates_lstm_gradient"
EXPORTERS = ("keras.src.export.", "keras_gates.exporting.", "jax._src.export.", "jax.experimental.jax2tf.")


class Options(NamedTuple):
    """What is not an array; hashable, as `jax.custom_vjp` wants it."""

    present: int
    sequences: bool
    go_backwards: bool
    zeros: bool
    drawn: bool


@functools.cache
def why_absent() -> str | None:
    """Return why the custom calls cannot be used in this process, or None if they can."""
    if jax.default_backend() != "cpu":
        return f"JAX computes on a {jax.default_backend().upper()}"
    try:
        from jax import ffi

        core = functions()
        ffi.register_ffi_target(FORWARD, ffi.pycapsule(core.kg_xla_lstm), platform="cpu")
        ffi.register_ffi_target(BACKWARD, ffi.pycapsule(core.kg_xla_lstm_gradient), platform="cpu")
    except Exception as error:  # jaxlib raises its own kinds
        return f"JAX {jax.__version__} does not take it: {error}"
    return None


def why_not_here() -> str | None:
    """Return why what JAX traces now must not contain the custom calls, or None if it may."""
    if keras.distribution.distribution() is not None:
        return "XLA does not divide it among devices"
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if f"{module}.".startswith(EXPORTERS):
            return f"the graph leaves this process ({module})"
        if frame.f_code.co_name == "vmap_f" and module.startswith("jax."):
            return "jax.vmap has no rule for it"
        frame = frame.f_back
    return None


def _flags(options: Options, mask: Any) -> dict[str, np.int32]:
    return {name: np.int32(value) for name, value in {**options._asdict(), "masked": mask is not None}.items()}


def _with(mask: Any) -> list[Any]:
    return [] if mask is None else [mask]


def _like(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _forward(options: Options, arrays: tuple, mask: Any, save: bool) -> list[Any]:
    events, stm = arrays[:2]
    batch, time, features = events.shape
    units = stm.shape[1]
    outputs = jax.ShapeDtypeStruct((batch, time, units) if options.sequences else (batch, units), events.dtype)
    results = [outputs, _like(stm), _like(stm)]
    if save:
        call = Call(**dict(zip(SIZES, (batch, time, features, units, 1))), is_double=events.dtype == jnp.float64)
        call.sequences = options.sequences
        call.drawn, call.mask = options.drawn, None if mask is None else 1  # only whether there are these is read
        for place in places(options.present):
            call.arrays[place] = 1
        results.append(jax.ShapeDtypeStruct((functions().kg_lstm_saved_size(call),), events.dtype))
    # Under vmap over a function that was traced before, one element after the other.
    run = jax.ffi.ffi_call(FORWARD, results, vmap_method="sequential")
    return run(*arrays, *_with(mask), **_flags(options, mask))


def _no_second_gradient(*_: Any) -> Any:
    raise ValueError(native.NO_SECOND_GRADIENT)


def _without_gradient(function: Callable) -> Callable:
    """Return the function with a rule for its gradient that raises: without one JAX names the custom call, not what to do."""
    wrapped = jax.custom_vjp(function, nondiff_argnums=(0,))
    wrapped.defvjp(_no_second_gradient, _no_second_gradient)
    return wrapped


@_without_gradient
def _saving(options: Options, arrays: tuple, mask: Any) -> list[Any]:
    return _forward(options, arrays, mask, save=True)


@_without_gradient
def _gradient(options: Options, arrays: tuple, mask: Any, outputs: Any, saved: Any, d_results: tuple) -> tuple:
    number = sum(1 for place in places(options.present) if place < len(WITH_GRADIENT))
    run = jax.ffi.ffi_call(BACKWARD, [_like(array) for array in arrays[:number]], vmap_method="sequential")
    gradients = run(*arrays, *_with(mask), outputs, saved, *d_results, **_flags(options, mask))
    # What has no gradient: zeroes, which are not computed where nobody asks for them.
    return (*gradients, *[jnp.zeros_like(array) for array in arrays[number:]])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _lstm(options: Options, arrays: tuple, mask: Any) -> tuple[Any, Any, Any]:
    return tuple(_forward(options, arrays, mask, save=False))


def _lstm_forward(options: Options, arrays: tuple, mask: Any) -> tuple:
    *results, saved = _saving(options, arrays, mask)
    return tuple(results), (arrays, mask, results[0], saved)


def _lstm_backward(options: Options, residuals: tuple, d_results: tuple) -> tuple:
    return _gradient(options, *residuals, d_results), None


_lstm.defvjp(_lstm_forward, _lstm_backward)


def lstm(
    arrays: Mapping[str, Any],
    mask: Any,
    *,
    sequences: bool,
    go_backwards: bool,
    zeros: bool,
    drawn: bool = False,
) -> tuple[Any, Any, Any]:
    """Run the kernel; arguments and results as in `tensorflow_binding.lstm`."""
    there = present(arrays)
    options = Options(there.bits, sequences, go_backwards, zeros, drawn)
    values = tuple(jnp.asarray(array) for array in there.arrays)
    return _lstm(options, values, None if mask is None else jnp.asarray(mask, bool))
