"""PyTorch: the kernel as the operators `keras_gates::lstm` and `keras_gates::lstm_gradient`, for autograd and `torch.compile`."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import torch

from keras_gates import native
from keras_gates._compat import in_torch_transform
from keras_gates.native.structures import ARRAYS, Call, Gradients, functions

INPUTS = 10  # the arrays and the mask
TENSORS = (
    "Tensor events, Tensor stm, Tensor ltm, Tensor kernel, Tensor recurrent_kernel, Tensor? bias, Tensor? kept_kernel, "
    "Tensor? kept_bias, Tensor? peephole, Tensor? mask"
)
OPTIONS = "bool sequences, bool go_backwards, bool zeros, bool coupled"
OPTION_COUNT = 4
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


def _call(tensors: Sequence[Any], sequences: bool, go_backwards: bool, zeros: bool, coupled: bool) -> tuple[Call, list]:
    """Return the call of the core, and the contiguous tensors that it points to."""
    tensors = [None if tensor is None else tensor.contiguous() for tensor in tensors]
    events, mask = tensors[0], tensors[-1]
    call = Call(*events.shape, tensors[1].shape[1], events.dtype == torch.float64, sequences, go_backwards, zeros)
    call.threads, call.coupled = torch.get_num_threads(), coupled
    for name, tensor in zip((*ARRAYS, "mask"), tensors):
        setattr(call, name, None if tensor is None else tensor.data_ptr())
    if mask is not None and not mask.numel():
        call.mask = ctypes.addressof(call)  # an empty tensor has no address, but a mask of no numbers is one
    return call, tensors


@torch.library.custom_op(
    "keras_gates::lstm",
    mutates_args=(),
    device_types="cpu",
    schema=f"({TENSORS}, {OPTIONS}, bool save) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _lstm(*arguments: Any) -> tuple[torch.Tensor, ...]:
    *options, save = arguments[INPUTS:]
    call, (events, stm, *_) = _call(arguments[:INPUTS], *options)
    outputs, last_stm, last_ltm, saved = _results(events, stm, call.sequences)
    if save:
        saved = saved.new_empty(functions().kg_lstm_saved_size(call) * events.element_size())
    addresses = [tensor.data_ptr() for tensor in (outputs, last_stm, last_ltm)]
    if functions().kg_lstm_forward(call, *addresses, saved.data_ptr() if save else None):
        raise MemoryError("GateLSTM: out of memory in the native loop.")
    return outputs, last_stm, last_ltm, saved


def _results(events: torch.Tensor, stm: torch.Tensor, sequences: bool) -> tuple[torch.Tensor, ...]:
    batch, time, _ = events.shape
    outputs = stm.new_empty((batch, time, stm.shape[1]) if sequences else (batch, stm.shape[1]))
    return outputs, stm.new_empty(stm.shape), stm.new_empty(stm.shape), events.new_empty(0, dtype=torch.uint8)


@_lstm.register_fake
def _(*arguments: Any) -> tuple[torch.Tensor, ...]:
    outputs, stm, ltm, saved = _results(arguments[0], arguments[1], arguments[INPUTS])
    if arguments[-1]:  # how much is saved depends on the processor
        saved = saved.new_empty(torch.library.get_ctx().new_dynamic_size())
    return outputs, stm, ltm, saved


@torch.library.custom_op(
    "keras_gates::lstm_gradient",
    mutates_args=(),
    device_types="cpu",
    schema=f"({TENSORS}, Tensor outputs, Tensor saved, Tensor d_outputs, Tensor d_stm, Tensor d_ltm, {OPTIONS}) -> Tensor[]",
)
def _lstm_gradient(*arguments: Any) -> list[torch.Tensor]:
    call, tensors = _call(arguments[:INPUTS], *arguments[INPUTS + 5 :])
    gradients = _gradients(tensors)
    results = [tensor.contiguous() for tensor in arguments[INPUTS : INPUTS + 5]]
    to = Gradients(*[None if of is None else gradient.data_ptr() for of, gradient in zip(tensors, gradients)])
    if functions().kg_lstm_backward(call, *[result.data_ptr() for result in results], to):
        raise MemoryError("GateLSTM: out of memory in the native loop.")
    return gradients


@_lstm_gradient.register_fake
def _(*arguments: Any) -> list[torch.Tensor]:
    return _gradients(arguments[:INPUTS])


def _gradients(tensors: Sequence[Any]) -> list[torch.Tensor]:
    """Return a tensor for the gradient of each array, an empty one for what is absent."""
    return [tensors[0].new_empty((0,) if tensor is None else tensor.shape) for tensor in tensors[: INPUTS - 1]]


def _keep(ctx: Any, inputs: tuple, output: tuple) -> None:
    ctx.options = inputs[INPUTS : INPUTS + OPTION_COUNT]
    ctx.save_for_backward(*inputs[:INPUTS], output[0], output[3])


def _backward(ctx: Any, d_outputs: Any, d_stm: Any, d_ltm: Any, _: Any) -> tuple:
    *arrays, outputs, saved = ctx.saved_tensors
    gradients = _lstm_gradient(*arrays, outputs, saved, d_outputs, d_stm, d_ltm, *ctx.options)
    gradients = [None if array is None else d for array, d in zip(arrays, gradients)]
    return (*gradients, None, *[None] * OPTION_COUNT, None)


def _no_second_gradient(ctx: Any, *_: Any) -> Any:
    raise ValueError(native.NO_SECOND_GRADIENT)


_lstm.register_autograd(_backward, setup_context=_keep)
_lstm_gradient.register_autograd(_no_second_gradient)


def lstm(
    events: Any,
    stm: Any,
    ltm: Any,
    weights: Sequence[Any],
    mask: Any,
    *,
    sequences: bool,
    go_backwards: bool,
    zeros: bool,
    peephole: Any = None,
    coupled: bool = False,
) -> tuple[Any, Any, Any]:
    """Run the kernel; arguments and results as in `tensorflow_binding.lstm`."""
    arrays = (events, stm, ltm, *weights, peephole)
    save = torch.is_grad_enabled() and any(array is not None and array.requires_grad for array in arrays)
    outputs, last_stm, last_ltm, _ = _lstm(*arrays, mask, sequences, go_backwards, zeros, coupled, save)
    return outputs, last_stm, last_ltm
