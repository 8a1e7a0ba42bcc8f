"""The structures of lstm.h for ctypes, and which arrays a call of the kernel takes."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from keras_gates import native

SIZES = ("batch", "time", "features", "units", "projection")
FLAGS = ("is_double", "sequences", "go_backwards", "zeros", "from_stm", "drawn", "threads")
OF_GATES = ("kernel", "recurrent_kernel", "bias", "peephole", "event_gain", "stm_gain")
WITH_GRADIENT = (
    *("events", "stm", "ltm"),
    *(f"{gate}_{name}" for name in OF_GATES for gate in ("learn", "forget", "use")),
    *("kept_kernel", "kept_bias", "memory_gain", "memory_bias", "projection"),
)
ARRAYS = (*WITH_GRADIENT, "ltm_zones", "stm_zones", "epsilons")  # the order of `kg_array`


class Call(ctypes.Structure):
    """`kg_lstm`: sizes, options and the addresses of the arrays."""

    _fields_ = [
        *[(name, ctypes.c_int64) for name in SIZES],
        *[(name, ctypes.c_int32) for name in FLAGS],
        ("arrays", ctypes.c_void_p * len(ARRAYS)),
        ("mask", ctypes.c_void_p),
    ]


class Gradients(ctypes.Structure):
    """`kg_lstm_gradients`: the addresses of the gradients."""

    _fields_ = [("arrays", ctypes.c_void_p * len(WITH_GRADIENT))]


class Present(NamedTuple):
    """The arrays that are there, in the kernel's order.

    Attributes:
        arrays: those that are there.
        bits: a bit for each of `ARRAYS`, set for those.
        gradients: how many of them have gradients.
    """

    arrays: list[Any]
    bits: int
    gradients: int


def present(arrays: Mapping[str, Any]) -> Present:
    """Return the arrays that are there, of a dict with the names of `ARRAYS`; None or a missing name stands for none."""
    there = [name for name in ARRAYS if arrays.get(name) is not None]
    bits = sum(1 << ARRAYS.index(name) for name in there)
    return Present([arrays[name] for name in there], bits, sum(name in WITH_GRADIENT for name in there))


@functools.cache
def places(bits: int) -> tuple[int, ...]:
    """Return where in `ARRAYS` the arrays stand that are there."""
    return tuple(place for place in range(len(ARRAYS)) if bits >> place & 1)


@functools.cache
def functions() -> ctypes.CDLL:
    """Return the core with the types of its functions set.

    Raises:
        ImportError: the core is absent.
    """
    core, address = native.core(), ctypes.c_void_p
    core.kg_lstm_saved_size.restype = ctypes.c_int64
    core.kg_lstm_saved_size.argtypes = [ctypes.POINTER(Call)]
    core.kg_lstm_forward.argtypes = [ctypes.POINTER(Call), address, address, address, address]
    core.kg_use_team.argtypes = [address]
    core.kg_lstm_backward.argtypes = [ctypes.POINTER(Call), *[address] * 5, ctypes.POINTER(Gradients)]
    return core
