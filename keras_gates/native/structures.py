"""The structures of lstm.h for ctypes, for bindings that reach the core through it."""

from __future__ import annotations

import ctypes
import functools

from keras_gates import native

SIZES = ("batch", "time", "features", "units")
FLAGS = ("is_double", "sequences", "go_backwards", "zeros", "from_stm", "threads", "coupled")
ARRAYS = ("events", "stm", "ltm", "kernel", "recurrent_kernel", "bias", "kept_kernel", "kept_bias", "peephole")


class Call(ctypes.Structure):
    """`kg_lstm`: sizes, options and the addresses of the arrays."""

    _fields_ = [
        *[(name, ctypes.c_int64) for name in SIZES],
        *[(name, ctypes.c_int32) for name in FLAGS],
        *[(name, ctypes.c_void_p) for name in (*ARRAYS, "mask")],
    ]


class Gradients(ctypes.Structure):
    """`kg_lstm_gradients`: the addresses of the gradients of `ARRAYS`."""

    _fields_ = [(name, ctypes.c_void_p) for name in ARRAYS]


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
    core.kg_lstm_backward.argtypes = [ctypes.POINTER(Call), *[address] * 5, ctypes.POINTER(Gradients)]
    return core
