"""One step of the plain cell forward, and the same step backward, written out once for every backend.

A hand-written gradient is what makes a sequence fast: the loop backward carries one matmul a step (two in the article
form), and the gradients of the weights are left to a few large matmuls over all steps at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from keras import ops


class Saved(NamedTuple):
    """What the step backward needs of the step forward, each `(batch, units)`."""

    before: Any
    ignore: Any
    forget: Any
    candidate: Any
    use: Any
    U: Any


def step(projected: Any, ltm: Any, kept_kernel: Any = None, kept_bias: Any = None) -> tuple[Any, Any, Saved]:
    """STM, LTM and what is to be saved, from `[STM, E]` of all gates, `(batch, 4 * units)`, and the LTM before.

    All four activations are one tanh over one contiguous block, since sigmoid(x) = tanh(x / 2) / 2 + 1 / 2.
    """
    units = ltm.shape[-1]
    scale = ops.convert_to_tensor(np.repeat([0.5, 0.5, 1.0, 0.5], units), projected.dtype)
    shift = ops.convert_to_tensor(np.repeat([0.5, 0.5, 0.0, 0.5], units), projected.dtype)
    ignore, forget, candidate, use = ops.split(ops.tanh(projected * scale) * scale + shift, 4, axis=-1)
    kept = ltm * forget
    remembered = kept + candidate * ignore
    if kept_kernel is None:
        u = ops.tanh(remembered)
    else:
        u = ops.matmul(kept, kept_kernel)
        u = ops.tanh(u if kept_bias is None else u + kept_bias)
    return u * use, remembered, Saved(ltm, ignore, forget, candidate, use, u)


def step_back(saved: Saved, d_stm: Any, d_ltm: Any, kept_kernel_t: Any = None) -> tuple[Any, Any, Any]:
    """The gradients of `projected`, of what is inside `U`'s tanh, and of the LTM before, from those of STM and LTM."""
    before, ignore, forget, candidate, use, u = saved
    d_source = d_stm * use * (1 - u * u)
    if kept_kernel_t is None:
        d_ltm = d_ltm + d_source
        d_kept = d_ltm
    else:
        d_kept = d_ltm + ops.matmul(d_source, kept_kernel_t)
    d_projected = ops.concatenate(
        [
            d_ltm * candidate * ignore * (1 - ignore),
            d_kept * before * forget * (1 - forget),
            d_ltm * ignore * (1 - candidate * candidate),
            d_stm * u * use * (1 - use),
        ],
        axis=-1,
    )
    return d_projected, d_source, d_kept * forget


def shown(stms: Any, mask: Any, zero_output_for_mask: bool, axis: int, before_first: str) -> Any:
    """What the layer shows of every STM: at a skipped event the output before (the memories stay anyway), or zeros.

    `before_first` says what stands before the first event that counts, `"zeros"` or the `"stm"` the sequence began with:
    Keras' backends differ there.
    """
    if zero_output_for_mask:
        shows = mask
    elif before_first == "stm":
        return stms
    else:
        shows = ops.cumsum(ops.cast(mask, "int32"), axis=axis) > 0
    return ops.where(ops.expand_dims(shows, -1), stms, ops.zeros_like(stms))
