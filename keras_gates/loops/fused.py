"""PyTorch: its own fused LSTM, which is oneDNN on a CPU and cuDNN on a GPU."""

from __future__ import annotations

from typing import Any

import torch


def run(
    events: Any,
    stm: Any,
    ltm: Any,
    weights: Any,
    *,
    mask: Any = None,
    go_backwards: bool = False,
    return_sequences: bool = False,
    **_: Any,
) -> tuple[Any, Any, list[Any]]:
    """Run the plain standard cell over a sequence without a mask; otherwise as `keras_gates.loops.portable.run`."""
    if mask is not None or weights.kept_kernel is not None:
        raise ValueError("The fused loop runs the standard form without a mask. Use loop='auto' or loop='portable'.")
    bias = weights.bias
    matrices = [weights.kernel.T.contiguous(), weights.recurrent_kernel.T.contiguous()]
    biases = [] if bias is None else [bias, torch.zeros_like(bias)]
    outputs, stm, ltm = torch.lstm(
        torch.flip(events, [1]) if go_backwards else events,
        (stm.unsqueeze(0).contiguous(), ltm.unsqueeze(0).contiguous()),
        matrices + biases,
        bias is not None,  # has_biases
        1,  # num_layers
        0.0,  # dropout
        torch.is_grad_enabled(),  # train
        False,  # bidirectional
        True,  # batch_first
    )
    last = outputs[:, -1]
    return last, outputs if return_sequences else last.unsqueeze(1), [stm.squeeze(0), ltm.squeeze(0)]
