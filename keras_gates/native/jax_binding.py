"""JAX: the kernel as two custom calls of XLA, with the gradient as `jax.custom_vjp`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FrameType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np

from keras_gates import native
from keras_gates.native.jax_lowering import operation
from keras_gates.native.structures import ARRAYS, SIZES, WITH_GRADIENT, Call, functions, places, present

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


def compute_elsewhere_by(run: Callable) -> None:
    """Set what computes the plain gates with JAX's own operations, for programs that leave this process.

    Args:
        run: Function of a dict of arrays, a mask or None, and the keyword options of `lstm` but `drawn`; with its results.
    """
    global _elsewhere
    _elsewhere = run


_elsewhere: Callable | None = None
PLAIN = {f"{gate}_{name}" for gate in ("learn", "forget", "use") for name in ("kernel", "recurrent_kernel", "bias")}
PLAIN |= {"events", "stm", "ltm", "kept_kernel", "kept_bias"}


def _flags(options: Options, masked: bool) -> dict[str, np.int32]:
    return {name: np.int32(value) for name, value in {**options._asdict(), "masked": masked}.items()}


def _with(mask: Any) -> list[Any]:
    return [] if mask is None else [mask]


def _like(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _results(options: Options, arrays: Sequence[Any], masked: bool, save: bool) -> list[Any]:
    """Return the shapes of outputs, STM, LTM and what is saved."""
    events, stm = arrays[:2]
    batch, time, features = events.shape
    units = stm.shape[1]
    outputs = jax.ShapeDtypeStruct((batch, time, units) if options.sequences else (batch, units), events.dtype)
    if not save:
        return [outputs, _like(stm), _like(stm)]
    call = Call(**dict(zip(SIZES, (batch, time, features, units, 1))), is_double=events.dtype == jnp.float64)
    call.sequences, call.drawn = options.sequences, options.drawn
    call.mask = 1 if masked else None  # only whether there are these is read
    for place in places(options.present):
        call.arrays[place] = 1
    saved = jax.ShapeDtypeStruct((functions().kg_lstm_saved_size(call),), events.dtype)
    return [outputs, _like(stm), _like(stm), saved]


def _gradients(options: Options) -> int:
    """Return how many arrays have gradients."""
    return sum(1 for place in places(options.present) if place < len(WITH_GRADIENT))


def _forward_here(*arrays: Any, options: Options, masked: bool, save: bool) -> list[Any]:
    run = jax.ffi.ffi_call(FORWARD, _results(options, arrays, masked, save))
    return list(run(*arrays, **_flags(options, masked)))


def _gradient_here(*arrays: Any, options: Options, masked: bool) -> list[Any]:
    run = jax.ffi.ffi_call(BACKWARD, [_like(array) for array in arrays[: _gradients(options)]])
    return list(run(*arrays, **_flags(options, masked)))


def _apart(options: Options, arrays: Sequence[Any], masked: bool) -> tuple[list[str], Any, Sequence[Any]]:
    """Return the names of the arrays, the mask, and what stands behind both."""
    names = [ARRAYS[place] for place in places(options.present)]
    if _elsewhere is None or not PLAIN.issuperset(names) or "forget_kernel" not in names:  # coupled gates have none
        raise ValueError(
            "GateLSTM: this function was traced with the native loop, which has variants of the gates that only this process can "
            "run. Export a function that was not called before, or call jax.clear_caches() first."
        )
    count = len(names)
    return names, arrays[count] if masked else None, arrays[count + masked :]


def _computed(options: Options, names: list[str], mask: Any, arrays: Sequence[Any]) -> tuple:
    assert _elsewhere is not None
    _, sequences, go_backwards, zeros, _ = options
    return _elsewhere(dict(zip(names, arrays)), mask, sequences=sequences, go_backwards=go_backwards, zeros=zeros)


def _forward_elsewhere(*arrays: Any, options: Options, masked: bool, save: bool) -> list[Any]:
    names, mask, _ = _apart(options, arrays, masked)
    results = list(_computed(options, names, mask, arrays))
    # The gradient there computes the forward pass again, so nothing is saved, in an array of the size that was traced.
    unread = _results(options, arrays, masked, save)[3:]
    return [*results, *[jnp.zeros(of.shape, of.dtype) for of in unread]]


def _gradient_elsewhere(*arrays: Any, options: Options, masked: bool) -> list[Any]:
    names, mask, (_, _, *d_results) = _apart(options, arrays, masked)
    _, slopes = jax.vjp(lambda *arrays: _computed(options, names, mask, arrays), *arrays[: _gradients(options)])
    return list(slopes(tuple(d_results)))


_run_forward = operation(FORWARD, _forward_here, _forward_elsewhere)
_run_gradient = operation(BACKWARD, _gradient_here, _gradient_elsewhere)


def _no_second_gradient(*_: Any) -> Any:
    raise ValueError(native.NO_SECOND_GRADIENT)


def _without_gradient(function: Callable) -> Callable:
    """Return the function with a rule for its gradient that raises: without one JAX names the custom call, not what to do."""
    wrapped = jax.custom_vjp(function, nondiff_argnums=(0,))
    wrapped.defvjp(_no_second_gradient, _no_second_gradient)
    return wrapped


@_without_gradient
def _saving(options: Options, arrays: tuple, mask: Any) -> list[Any]:
    return _run_forward(*arrays, *_with(mask), options=options, masked=mask is not None, save=True)


@_without_gradient
def _gradient(options: Options, arrays: tuple, mask: Any, outputs: Any, saved: Any, d_results: tuple) -> tuple:
    rest = arrays[_gradients(options) :]
    gradients = _run_gradient(
        *arrays, *_with(mask), outputs, saved, *d_results, options=options, masked=mask is not None
    )
    # What has no gradient: zeroes, which are not computed where nobody asks for them.
    return (*gradients, *[jnp.zeros_like(array) for array in rest])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _lstm(options: Options, arrays: tuple, mask: Any) -> tuple[Any, Any, Any]:
    return tuple(_run_forward(*arrays, *_with(mask), options=options, masked=mask is not None, save=False))


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
