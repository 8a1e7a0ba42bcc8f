"""PyTorch: the kernel as a function of autograd, and for what is traced as `keras_gates::lstm` and `keras_gates::lstm_gradient`.

An operator is dispatched, its arguments flattened and its results checked for aliases: about as long as the kernel takes for a
short sequence. So what runs eagerly calls the core directly, and only `torch.compile`, fake tensors and modes see the operators.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.autograd.forward_ad import unpack_dual

from keras_gates import native
from keras_gates._compat import in_torch_mode, in_torch_transform
from keras_gates.native.structures import ARRAYS, WITH_GRADIENT, Call, Gradients, functions, places, present

INPUTS = 3  # the arrays that are there, the mask, and which arrays are there
TENSORS = "Tensor[] arrays, Tensor? mask, int present"
OPTIONS = "bool sequences, bool go_backwards, bool zeros, bool drawn"
OPTION_COUNT = 4
PLAIN = (torch.Tensor, torch.nn.Parameter)
NO_MEMORY = "GateLSTM: out of memory in the native loop."
PROJECTION = ARRAYS.index("projection")
EXPORTERS = ("keras.src.export.", "torch.export.", "torch.onnx.", "torch.jit.", "litert_torch.", "ai_edge_torch.")


def why_absent() -> str | None:
    """Return why the operators cannot be used in this process, or None if they can."""
    return "PyTorch computes on a GPU" if torch.backends.mps.is_available() else None


def why_not_here() -> str | None:
    """Return why what PyTorch runs or traces now must not contain the operators, or None if it may."""
    if in_torch_transform():
        return "torch.func has no rule for it"
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if f"{module}.".startswith(EXPORTERS):
            return f"the graph leaves this process ({module})"
        frame = frame.f_back
    return None


@functools.cache
def _core() -> ctypes.CDLL:
    """Return the core, which works on the threads of PyTorch's OpenMP (libgomp, in its wheels for Linux) if there is one: they
    wait in a loop for some milliseconds after each of PyTorch's operations, and would take threads of our own their processors.
    """
    core = functions()
    for path in (Path(torch.__file__).parent / "lib").glob("libgomp*.so*"):
        try:
            team = ctypes.CDLL(str(path), os.RTLD_NOLOAD).GOMP_parallel  # only if it is the one that PyTorch has loaded
        except (OSError, AttributeError):
            continue
        core.kg_use_team(ctypes.cast(team, ctypes.c_void_p))
    return core


def _call(
    arrays: Sequence[Any], mask: Any, present: int, sequences: bool, go_backwards: bool, zeros: bool, drawn: bool
) -> tuple[Call, list]:
    """Return the call of the core, and the contiguous tensors that it points to."""
    arrays = [array.contiguous() for array in arrays]
    (events, stm), there = arrays[:2], places(present)
    call = Call(*events.shape, stm.shape[1])
    call.is_double, call.sequences, call.go_backwards = events.dtype == torch.float64, sequences, go_backwards
    call.zeros, call.drawn, call.threads = zeros, drawn, torch.get_num_threads()
    for place, array in zip(there, arrays):
        call.arrays[place] = array.data_ptr() or ctypes.addressof(call)  # an empty tensor has no address, but is one
    if PROJECTION in there:
        call.projection = arrays[there.index(PROJECTION)].shape[1]
    if mask is not None:
        arrays.append(mask.contiguous())
        call.mask = arrays[-1].data_ptr() or ctypes.addressof(call)
    return call, arrays


def _forward(arrays: Sequence[Any], mask: Any, present: int, *options: bool) -> tuple[torch.Tensor, ...]:
    """Return the outputs, the last memories and, if the last option (`save`) is set, what the backward pass needs."""
    *flags, save = options
    call, (events, stm, *_) = _call(arrays, mask, present, *flags)
    outputs, last_stm, last_ltm, saved = _results(events, stm, call.sequences)
    if save:
        saved = saved.new_empty(_core().kg_lstm_saved_size(call) * events.element_size())
    addresses = [tensor.data_ptr() for tensor in (outputs, last_stm, last_ltm)]
    if _core().kg_lstm_forward(call, *addresses, saved.data_ptr() if save else None):
        raise MemoryError(NO_MEMORY)
    return outputs, last_stm, last_ltm, saved


def _results(events: torch.Tensor, stm: torch.Tensor, sequences: bool) -> tuple[torch.Tensor, ...]:
    batch, time, _ = events.shape
    outputs = stm.new_empty((batch, time, stm.shape[1]) if sequences else (batch, stm.shape[1]))
    return outputs, stm.new_empty(stm.shape), stm.new_empty(stm.shape), events.new_empty(0, dtype=torch.uint8)


_lstm = torch.library.custom_op(
    "keras_gates::lstm",
    _forward,
    mutates_args=(),
    device_types="cpu",
    schema=f"({TENSORS}, {OPTIONS}, bool save) -> (Tensor, Tensor, Tensor, Tensor)",
)


@_lstm.register_fake
def _(*arguments: Any) -> tuple[torch.Tensor, ...]:
    events, stm, *_ = arguments[0]
    outputs, stm, ltm, saved = _results(events, stm, arguments[INPUTS])
    if arguments[-1]:  # how much is saved depends on the processor
        saved = saved.new_empty(torch.library.get_ctx().new_dynamic_size())
    return outputs, stm, ltm, saved


def _gradients(
    arrays: Sequence[Any], mask: Any, present: int, outputs: Any, saved: Any, *more: Any
) -> list[torch.Tensor]:
    """Return the gradients of the arrays; of the three gradients given, those of the last memories may be None for zeros."""
    call, tensors = _call(arrays, mask, present, *more[3:])
    there = _with_gradient(present)
    gradients = [torch.empty_like(tensor) for tensor in tensors[: len(there)]]
    results = [None if tensor is None else tensor.contiguous() for tensor in (outputs, saved, *more[:3])]
    to = Gradients()
    for place, gradient in zip(there, gradients):
        to.arrays[place] = gradient.data_ptr() or ctypes.addressof(to)
    addresses = [None if result is None else result.data_ptr() for result in results]
    if _core().kg_lstm_backward(call, *addresses, to):
        raise MemoryError(NO_MEMORY)
    return gradients


_lstm_gradient = torch.library.custom_op(
    "keras_gates::lstm_gradient",
    _gradients,
    mutates_args=(),
    device_types="cpu",
    schema=f"({TENSORS}, Tensor outputs, Tensor saved, Tensor d_outputs, Tensor d_stm, Tensor d_ltm, {OPTIONS}) -> Tensor[]",
)


@_lstm_gradient.register_fake
def _(*arguments: Any) -> list[torch.Tensor]:
    arrays, present = arguments[0], arguments[2]
    return [array.new_empty(array.shape) for array in arrays[: len(_with_gradient(present))]]


@functools.cache
def _with_gradient(present: int) -> list[int]:
    return [place for place in places(present) if place < len(WITH_GRADIENT)]


def _keep(ctx: Any, inputs: tuple, output: tuple) -> None:
    arrays, mask, *ctx.options, _ = inputs
    ctx.save_for_backward(*arrays, mask, output[0], output[3])


def _backward(ctx: Any, d_outputs: Any, d_stm: Any, d_ltm: Any, _: Any) -> tuple:
    *arrays, mask, outputs, saved = ctx.saved_tensors
    present, *options = ctx.options
    gradients = _lstm_gradient(arrays, mask, present, outputs, saved, d_outputs, d_stm, d_ltm, *options)
    gradients = [*gradients, *[None] * (len(arrays) - len(gradients))]
    return (gradients, *[None] * (INPUTS - 1 + OPTION_COUNT), None)


def _no_second_gradient(ctx: Any, *_: Any) -> Any:
    raise ValueError(native.NO_SECOND_GRADIENT)


_lstm.register_autograd(_backward, setup_context=_keep)
_lstm_gradient.register_autograd(_no_second_gradient)


class _Eager(torch.autograd.Function):
    """The kernel without the dispatcher, with what its backward pass needs saved."""

    @staticmethod
    def forward(ctx: Any, mask: Any, options: tuple, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs, last_stm, last_ltm, saved = _forward(arrays, mask, *options, True)
        ctx.save_for_backward(*arrays, mask, outputs, saved)
        ctx.options = options
        ctx.set_materialize_grads(False)  # the core takes null for the memories' gradients
        return outputs, last_stm, last_ltm

    @staticmethod
    def backward(ctx: Any, d_outputs: Any, d_stm: Any, d_ltm: Any) -> tuple:
        *arrays, mask, outputs, saved = ctx.saved_tensors
        present, *options = ctx.options
        d_outputs = torch.zeros_like(outputs) if d_outputs is None else d_outputs
        if torch.is_grad_enabled():  # create_graph: only the operator knows what a second gradient says
            d_stm, d_ltm = (torch.zeros_like(arrays[1]) if slope is None else slope for slope in (d_stm, d_ltm))
            gradients = _lstm_gradient(arrays, mask, present, outputs, saved, d_outputs, d_stm, d_ltm, *options)
        else:
            gradients = _gradients(arrays, mask, present, outputs, saved, d_outputs, d_stm, d_ltm, *options)
        return (None, None, *gradients, *[None] * (len(arrays) - len(gradients)))


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
    options = (there.bits, sequences, go_backwards, zeros, drawn)
    save = torch.is_grad_enabled() and any(array.requires_grad for array in there.arrays)
    if _is_traced(there.arrays if mask is None else [*there.arrays, mask]):
        return _lstm(there.arrays, mask, *options, save)[:3]
    if save or any(
        unpack_dual(array).tangent is not None for array in there.arrays
    ):  # of forward mode: an error of PyTorch
        return _Eager.apply(mask, options, *there.arrays)
    return _forward(there.arrays, mask, *options, False)[:3]


def _is_traced(arrays: Sequence[Any]) -> bool:
    """Return whether something other than PyTorch's own engine must see one operator, or a tensor has no address here (meta)."""
    if torch.compiler.is_compiling() or in_torch_mode():
        return True
    return any(type(array) not in PLAIN or not array.is_cpu for array in arrays)
