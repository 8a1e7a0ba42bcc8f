"""PyTorch: its own fused LSTM, which is oneDNN on a CPU and cuDNN on a GPU."""

from __future__ import annotations

import torch

from keras_gates.loops.inputs import LoopInputs, LoopResult


def run(inputs: LoopInputs) -> LoopResult:
    """Run the plain gates of the standard form over a sequence without a mask.

    Raises:
        ValueError: there is a mask, or the weights are those of the article form.
    """
    weights = inputs.weights
    if inputs.mask is not None or weights.kept_kernel is not None:
        raise ValueError("The fused loop runs the standard form without a mask. Use loop='auto' or loop='portable'.")
    bias = weights.bias
    # PyTorch keeps a gate's weights in rows, in Keras' order of gates, and adds two biases: one of them is zero here.
    matrices = [weights.kernel.T.contiguous(), weights.recurrent_kernel.T.contiguous()]
    biases = [] if bias is None else [bias, torch.zeros_like(bias)]
    outputs, stm, ltm = torch.lstm(
        torch.flip(inputs.events, [1]) if inputs.go_backwards else inputs.events,
        (inputs.stm.unsqueeze(0).contiguous(), inputs.ltm.unsqueeze(0).contiguous()),
        matrices + biases,
        bias is not None,  # has_biases
        1,  # num_layers
        0.0,  # dropout
        torch.is_grad_enabled(),  # train: keep what the backward pass needs
        False,  # bidirectional
        True,  # batch_first
    )
    last = outputs[:, -1]
    return last, outputs if inputs.return_sequences else last.unsqueeze(1), [stm.squeeze(0), ltm.squeeze(0)]
