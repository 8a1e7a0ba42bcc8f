"""JAX: one `lax.scan` forward, one backward with a hand-written gradient; works under jit, vmap, pmap and sharding."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from keras_gates.loops.inputs import LoopInputs, LoopResult
from keras_gates.loops.step_gradient import Saved, masked_output, step, step_back


def run(inputs: LoopInputs) -> LoopResult:
    """Run the plain gates with tanh and sigmoid over a sequence."""
    sequences = inputs.return_sequences
    events = jnp.swapaxes(inputs.events, 0, 1)
    mask = None if inputs.mask is None else jnp.swapaxes(jnp.asarray(inputs.mask, bool), 0, 1)
    if inputs.go_backwards:
        events, mask = jnp.flip(events, 0), None if mask is None else jnp.flip(mask, 0)
    stms, stm, ltm = _recurrence(sequences, events, inputs.stm, inputs.ltm, tuple(inputs.weights), mask)
    if not sequences:
        stms, mask = stm[None], None if mask is None else mask[-1:]
    if mask is not None:
        stms = masked_output(stms, mask, inputs.zero_output_for_mask, axis=0, before_first="stm")
    outputs = jnp.swapaxes(stms, 0, 1)
    return outputs[:, -1], outputs, [stm, ltm]


def _forward(sequences: bool, events: Any, stm: Any, ltm: Any, weights: tuple, mask: Any, saving: bool) -> tuple:
    kernel, recurrent_kernel, bias, kept_kernel, kept_bias = weights
    # Events are not projected ahead: next to a slice of projected events XLA does not vectorise the cutting into gates on a
    # CPU. One matmul per time step of [event, STM] takes half the time (docs/performance.md).
    joint = jnp.concatenate([kernel, recurrent_kernel], 0)

    def body(memories: tuple, event_and_mask: tuple) -> tuple:
        (stm, ltm), (event, counts) = memories, event_and_mask
        projected = jnp.concatenate([event, stm], 1) @ joint
        projected = projected if bias is None else projected + bias
        new_stm, new_ltm, saved = step(projected, ltm, kept_kernel, kept_bias)
        if counts is not None:
            new_stm = jnp.where(counts[:, None], new_stm, stm)
            new_ltm = jnp.where(counts[:, None], new_ltm, ltm)
        return (new_stm, new_ltm), (new_stm if sequences or saving else None, saved if saving else None)

    (stm, ltm), (stms, saved) = lax.scan(body, (stm, ltm), (events, mask))
    return stms, stm, ltm, saved


# JAX's own gradient of a scan carries the weights' gradients through every step; this one computes them after the loop.
@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recurrence(sequences: bool, events: Any, stm: Any, ltm: Any, weights: tuple, mask: Any) -> tuple[Any, Any, Any]:
    """Return every STM `(time, batch, units)` (None without `sequences`), the last STM and LTM, of time-major events."""
    return _forward(sequences, events, stm, ltm, weights, mask, saving=False)[:3]


def _recurrence_forward(sequences: bool, events: Any, stm: Any, ltm: Any, weights: tuple, mask: Any) -> tuple:
    stms, last_stm, last_ltm, saved = _forward(sequences, events, stm, ltm, weights, mask, saving=True)
    residuals = (events, stm, weights, mask, stms, saved)
    return (stms if sequences else None, last_stm, last_ltm), residuals


def _recurrence_backward(sequences: bool, residuals: tuple, d_results: tuple) -> tuple:
    events, stm_0, weights, mask, stms, saved = residuals
    kernel, recurrent_kernel, bias, kept_kernel, kept_bias = weights
    d_stms, d_stm, d_ltm = d_results
    recurrent_t = recurrent_kernel.T
    kept_t = None if kept_kernel is None else kept_kernel.T

    def body(d_memories: tuple, step_values: tuple) -> tuple:
        (d_stm, d_ltm), (saved, d_output, counts) = d_memories, step_values
        d_stm = d_stm if d_output is None else d_stm + d_output
        d_projected, d_source, d_before = step_back(Saved(*saved), d_stm, d_ltm, kept_t)
        if counts is None:
            d_stm = d_projected @ recurrent_t
        else:
            # A skipped event has no gradient, and the memories' gradients pass it unchanged.
            counts = counts[:, None]
            d_projected, d_source = jnp.where(counts, d_projected, 0), jnp.where(counts, d_source, 0)
            d_before = jnp.where(counts, d_before, d_ltm)
            d_stm = d_projected @ recurrent_t + jnp.where(counts, 0, d_stm)
        return (d_stm, d_before), (d_projected, None if kept_t is None else d_source)

    (d_stm, d_ltm), (d_projected, d_source) = lax.scan(body, (d_stm, d_ltm), (saved, d_stms, mask), reverse=True)
    stm_before = jnp.concatenate([stm_0[None], stms[:-1]], 0)

    def over_all_steps(left: Any, right: Any) -> Any:
        return left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1])

    d_weights = (
        over_all_steps(events, d_projected),
        over_all_steps(stm_before, d_projected),
        None if bias is None else d_projected.sum((0, 1)),
        None if kept_kernel is None else over_all_steps(saved.before * saved.forget, d_source),
        None if kept_bias is None else d_source.sum((0, 1)),
    )
    return d_projected @ kernel.T, d_stm, d_ltm, d_weights, None


_recurrence.defvjp(_recurrence_forward, _recurrence_backward)
