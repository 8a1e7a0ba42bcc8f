"""One time step of the plain gates and its backward pass, written out once for every backend.

A hand-written gradient is what makes a sequence fast: the backward pass has one matmul per time step in its loop (two in the
article form), and computes the gradients of the weights after the loop, in a few large matmuls over all time steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from keras import ops


class Saved(NamedTuple):
    """What the backward pass of a time step needs of the forward pass, each `(batch, units)`; `before` is LTM_{t-1}."""

    before: Any
    ignore: Any
    forget: Any
    candidate: Any
    use: Any
    U: Any


def step(projected: Any, ltm: Any, kept_kernel: Any = None, kept_bias: Any = None) -> tuple[Any, Any, Saved]:
    """Run one time step.

    Args:
        projected: `E @ kernel + STM @ recurrent_kernel + bias` of all gates, `(batch, 4 * units)`.
        ltm: LTM_{t-1}, `(batch, units)`.
        kept_kernel: `(units, units)` in the article form, else None.
        kept_bias: `(units,)` in the article form with bias, else None.

    Returns:
        STM_t, LTM_t and what the backward pass needs.
    """
    # All four activations are one tanh over one contiguous block, since sigmoid(x) = tanh(x / 2) / 2 + 1 / 2: one pass over
    # memory instead of four.
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
    """Run the backward pass of one time step.

    Args:
        saved: what `step` saved.
        d_stm: gradient of STM_t, `(batch, units)`.
        d_ltm: gradient of LTM_t, `(batch, units)`.
        kept_kernel_t: the transposed `kept_kernel` in the article form, else None.

    Returns:
        The gradients of `projected`, of the argument of U's tanh, and of LTM_{t-1}.
    """
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


def masked_output(stms: Any, mask: Any, zero_output_for_mask: bool, axis: int, before_first: str) -> Any:
    """Return what the layer outputs for every STM: at a skipped event the output before it, or zeros.

    Args:
        stms: every STM, in which a skipped event has left the STM before it unchanged.
        mask: Booleans of the same batch and time axes, False where an event was skipped.
        zero_output_for_mask: Boolean, as for `keras.layers.RNN`.
        axis: the time axis.
        before_first: the output before the first event that counts, `"zeros"` or `"stm"` (the initial one): Keras' backends
            differ there.
    """
    if zero_output_for_mask:
        shows = mask
    elif before_first == "stm":
        return stms
    else:
        shows = ops.cumsum(ops.cast(mask, "int32"), axis=axis) > 0
    return ops.where(ops.expand_dims(shows, -1), stms, ops.zeros_like(stms))
