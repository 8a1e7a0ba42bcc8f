"""PyTorch where its own LSTM does not go, the article form and masks: a loop over time steps with a hand-written gradient.

An operation costs PyTorch a microsecond or more whatever its size, so a time step has as few as possible, each writing into
memory that is kept anyway: one matmul and seven pointwise operations forward, one and five backward (one more matmul each in the
article form). What does not wait for the time step before is computed for all of them at once. PyTorch's tanh takes five times
as long as its sigmoid, so tanh(x) is 2 sigmoid(2 x) - 1 here, and LTM is kept doubled inside the loop.
"""

from __future__ import annotations

from itertools import cycle, repeat
from typing import Any

import torch

from keras_gates.loops.inputs import LoopInputs, LoopResult
from keras_gates.loops.step_gradient import masked_output

ROWS = 512  # rows (time steps times batch) of a chunk of the backward pass


def run(inputs: LoopInputs) -> LoopResult:
    """Run the plain gates with tanh and sigmoid over a sequence."""
    events, mask = inputs.events.transpose(0, 1), inputs.mask
    dtype = events.dtype
    mask = None if mask is None else torch.as_tensor(mask, dtype=torch.bool, device=events.device).transpose(0, 1)
    if inputs.go_backwards:
        events, mask = events.flip(0), None if mask is None else mask.flip(0)
    tensors: tuple[Any, ...] = (events, inputs.stm, inputs.ltm, *inputs.weights)
    if dtype.itemsize == 2:  # 2 sigmoid(2 x) - 1 would lose two of their eight or eleven bits
        tensors = tuple(None if tensor is None else tensor.float() for tensor in tensors)
    arguments = (mask, *tensors)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in arguments):
        stms, stm, ltm = Recurrence.apply(*arguments)
    else:
        stms, stm, ltm, *_ = _forward(*arguments, saving=False)
    if not inputs.return_sequences:
        stms = stm[None]
        if mask is not None:
            mask = mask[-1:] if inputs.zero_output_for_mask else mask.any(0, keepdim=True)
    if mask is not None:
        stms = masked_output(stms, mask, inputs.zero_output_for_mask, axis=0, before_first="zeros")
    outputs = stms.transpose(0, 1).to(dtype)
    return outputs[:, -1], outputs, [stm.to(dtype), ltm.to(dtype)]


class Recurrence(torch.autograd.Function):
    """Every STM `(time, batch, units)`, the last STM and LTM, of time-major mask and events, the memories and the weights."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple:
        stms, stm, ltm, *saved = _forward(*arguments, saving=True)
        ctx.set_materialize_grads(False)  # None instead of zeros for a result without a gradient: nothing to add then
        ctx.save_for_backward(*arguments, stms, *saved)
        return stms, stm, ltm

    @staticmethod
    def backward(ctx: Any, *d_results: Any) -> tuple:
        return None, *RecurrenceBackward.apply(*d_results, *ctx.saved_tensors)


class RecurrenceBackward(torch.autograd.Function):
    """Backward pass of `Recurrence`; not differentiable a second time."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple:
        return _backward(*arguments)

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise ValueError(
            "GateLSTM: the stepped loop has a first gradient only; a gradient of a gradient was requested. "
            "Build the layer with loop='portable'."
        )


def _forward(
    mask: Any,
    events: Any,
    stm: Any,
    ltm: Any,
    kernel: Any,
    recurrent: Any,
    bias: Any,
    kept_kernel: Any,
    kept_bias: Any,
    *,
    saving: bool,
) -> tuple:
    """Return every STM, the last STM and LTM; and of every time step the four activations, LTM doubled, and U."""
    time, (batch, units) = len(events), stm.shape
    double = events.new_tensor([1.0, 1.0, 2.0, 1.0]).repeat_interleave(units)  # the candidate is a tanh, see above
    minus_one = events.new_tensor([-1.0])
    gates = torch.matmul(events, kernel * double)
    gates = gates if bias is None else gates.add_(bias * double)
    recurrent, ltm = recurrent * double, 2 * ltm
    kept_bias = None if kept_bias is None else 2 * kept_bias

    def per_step() -> Any:
        # Without a gradient two suffice, in turns: the memory before is still read while the new one is written.
        return events.new_empty((time if saving else 2, batch, units))

    stms, ltms, us, kept = events.new_empty((time, batch, units)), per_step(), per_step(), torch.empty_like(ltm)
    # Views of all time steps are made once here: indexing costs as much as an operation.
    kinds = gates.unflatten(2, (4, units)).unbind(2)
    counting = repeat(None) if mask is None else mask.unsqueeze(-1)
    every = zip(gates, *kinds, stms, cycle(ltms), cycle(us), counting)
    for gate, ignore, forget, candidate, use, new_stm, new_ltm, u, counts in every:
        torch.addmm(gate, stm, recurrent, out=gate).sigmoid_()  # all four gates at once, in place
        torch.add(minus_one, candidate, alpha=2, out=candidate)
        torch.mul(ltm, forget, out=kept)
        torch.addcmul(kept, candidate, ignore, value=2, out=new_ltm)
        if kept_kernel is None:
            torch.sigmoid(new_ltm, out=u)
        elif kept_bias is None:
            torch.mm(kept, kept_kernel, out=u).sigmoid_()
        else:
            torch.addmm(kept_bias, kept, kept_kernel, out=u).sigmoid_()
        torch.add(minus_one, u, alpha=2, out=u)
        torch.mul(u, use, out=new_stm)
        if counts is not None:
            torch.where(counts, new_stm, stm, out=new_stm)
            torch.where(counts, new_ltm, ltm, out=new_ltm)
        stm, ltm = new_stm, new_ltm
    return stms, stm.clone(), ltm / 2, gates, ltms, us


def _backward(
    d_stms: Any,
    d_stm: Any,
    d_ltm: Any,
    mask: Any,
    events: Any,
    stm: Any,
    ltm: Any,
    kernel: Any,
    recurrent: Any,
    bias: Any,
    kept_kernel: Any,
    kept_bias: Any,
    stms: Any,
    gates: Any,
    ltms: Any,
    us: Any,
) -> tuple:
    """Return the gradients of `_forward`'s arguments, from those of its results (None where they are zero).

    The time steps are taken in chunks, so that what is computed for a whole chunk at once stays in the processor's cache.
    """
    time, batch, units = stms.shape
    d_stm = torch.zeros_like(stm) if d_stm is None else d_stm
    d_ltm = torch.zeros_like(ltm) if d_ltm is None else d_ltm
    d_events = torch.empty_like(events)
    d_weights: list[Any] = [
        None if w is None else torch.zeros_like(w) for w in (kernel, recurrent, bias, kept_kernel, kept_bias)
    ]
    d_kernel, d_recurrent, d_bias, d_kept_kernel, d_kept_bias = d_weights
    recurrent_t, kept_t = recurrent.t(), None if kept_kernel is None else kept_kernel.t()
    length = max(1, ROWS // max(1, batch))
    for start in reversed(range(0, time, length)):
        chunk = slice(start, start + length)
        counts = None if mask is None else mask[chunk, :, None]
        stm_before, ltm_before = _before(stm, stms, chunk), _before(2 * ltm, ltms, chunk) / 2
        slopes, through, forget = _slopes(counts, gates[chunk].unflatten(2, (4, units)), ltm_before, us[chunk])
        steps = len(slopes)
        from_outside = [None] * steps if d_stms is None else d_stms[chunk]
        skipped = [None] * steps if counts is None else (~counts).to(events.dtype)
        every = zip(slopes, through, forget, from_outside, skipped)
        for d_gates, d_source, kept_by, d_output, skips in reversed(list(every)):
            d_stm = d_stm if d_output is None else d_stm + d_output
            d_source.mul_(d_stm)
            if kept_t is None:
                d_ltm = d_kept = d_ltm + d_source
                d_gates[:, :3].mul_(d_ltm.unsqueeze(1))
            else:
                d_kept = torch.addmm(d_ltm, d_source, kept_t)
                d_gates[:, 0:3:2].mul_(d_ltm.unsqueeze(1))
                d_gates[:, 1].mul_(d_kept)
            d_gates[:, 3].mul_(d_stm)
            d_before = torch.mm(d_gates.view(batch, 4 * units), recurrent_t)
            d_stm = d_before if skips is None else d_before.addcmul_(skips, d_stm)
            d_ltm = d_kept * kept_by
        d_gates, d_source = slopes.view(-1, 4 * units), through.view(-1, units)
        d_events[chunk] = torch.mm(d_gates, kernel.t()).view(steps, batch, len(kernel))
        d_kernel.addmm_(events[chunk].flatten(0, 1).t(), d_gates)
        d_recurrent.addmm_(stm_before.flatten(0, 1).t(), d_gates)
        if d_bias is not None:
            d_bias += d_gates.sum(0)
        if d_kept_kernel is not None:
            d_kept_kernel.addmm_((ltm_before * forget).flatten(0, 1).t(), d_source)
        if d_kept_bias is not None:
            d_kept_bias += d_source.sum(0)
    return d_events, d_stm, d_ltm, *d_weights


def _before(first: Any, every: Any, chunk: slice) -> Any:
    """Return the memory before each time step of the chunk; before the first of all it is `first`."""
    if chunk.start:
        return every[chunk.start - 1 : min(chunk.stop, len(every)) - 1]
    return torch.cat([first[None], every[: min(chunk.stop, len(every)) - 1]])


def _slopes(counts: Any, gates: Any, before: Any, us: Any) -> tuple[Any, Any, Any]:
    """Return the factors of the gradients that need no loop, for all time steps of a chunk.

    Returns:
        What the gradients of LTM, kept and STM are multiplied by on their way to the four activations, `(steps, batch, 4,
        units)`; what that of STM is on its way into U's tanh; and the forget factor. A skipped event passes the memories'
        gradients unchanged.
    """
    ignore, forget, candidate, use = gates.unbind(2)
    slopes = torch.empty_like(gates)
    torch.mul(candidate, ignore * (1 - ignore), out=slopes[:, :, 0])
    torch.mul(before, forget * (1 - forget), out=slopes[:, :, 1])
    torch.mul(ignore, 1 - candidate * candidate, out=slopes[:, :, 2])
    torch.mul(us, use * (1 - use), out=slopes[:, :, 3])
    through = use * (1 - us * us)
    if counts is None:
        return slopes, through, forget
    return slopes.mul_(counts.unsqueeze(-1)), through.mul_(counts), torch.where(counts, forget, 1.0)
