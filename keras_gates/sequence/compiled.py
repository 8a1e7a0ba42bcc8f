"""TensorFlow: the whole loop compiled by XLA with a hand-written gradient, also inside a model that is not compiled.

Graph mode pays a few microseconds for every operation of every step; a compiled loop does not. So the recurrence is a
`tf.function(jit_compile=True)` of its own, an island in the graph. On a CPU with several cores the batch goes through
two islands side by side, which the graph runs in parallel: a single loop keeps only one core busy.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from keras_gates.sequence.steps import Saved, shown, step, step_back

SPLIT_FROM = 16  # rows: below, half a batch is no less work for a core than a whole one
BUCKET = 32  # steps: a time that is known only at run time is compiled for the next multiple


def run(
    events: Any,
    stm: Any,
    ltm: Any,
    weights: Any,
    *,
    mask: Any = None,
    go_backwards: bool = False,
    return_sequences: bool = False,
    zero_output_for_mask: bool = False,
    **_: Any,
) -> tuple[Any, Any, list[Any]]:
    """Run the plain cell over a sequence; arguments and result as for `keras_gates.sequence.portable.run`."""
    flags = {"backwards": go_backwards, "sequences": return_sequences, "zeros": zero_output_for_mask}
    steps = None
    if events.shape[1] is None:
        steps = tf.shape(events)[1]
        spare = -steps % BUCKET
        events = tf.pad(events, [[0, 0], [0, spare], [0, 0]])
        mask = None if mask is None else tf.pad(mask, [[0, 0], [0, spare]])

    def island(events: Any, stm: Any, ltm: Any, mask: Any) -> tuple:
        return _island(events, stm, ltm, mask, steps, tuple(weights), **flags)

    outputs, stm, ltm = _side_by_side(island, events, stm, ltm, mask)
    if steps is not None and return_sequences:
        outputs = outputs[:, :steps]
    last = outputs[:, -1]
    return last, outputs, [stm, ltm]


def _side_by_side(island: Callable, *tensors: Any) -> tuple:
    """The island over two halves of the batch where there are cores for both, over the whole otherwise."""
    batch = tensors[0].shape[0]
    in_xla = not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(
        tf.compat.v1.get_default_graph()
    )
    if in_xla or os.cpu_count() < 2 or tf.config.list_logical_devices("GPU") or (batch or SPLIT_FROM) < SPLIT_FROM:
        return island(*tensors)

    def halves() -> list:
        middle = (tf.shape(tensors[0])[0] + 1) // 2 if batch is None else (batch + 1) // 2
        first = island(*[None if tensor is None else tensor[:middle] for tensor in tensors])
        second = island(*[None if tensor is None else tensor[middle:] for tensor in tensors])
        return [tf.concat(both, 0) for both in zip(first, second)]

    if batch is not None:
        return tuple(halves())
    return tuple(tf.cond(tf.shape(tensors[0])[0] < SPLIT_FROM, lambda: list(island(*tensors)), halves))


@tf.function(jit_compile=True, autograph=False, reduce_retracing=False)
def _island(
    events: Any,
    stm: Any,
    ltm: Any,
    mask: Any,
    steps: Any,
    weights: tuple,
    *,
    backwards: bool,
    sequences: bool,
    zeros: bool,
) -> tuple:
    """Outputs `(batch, time or 1, units)`, STM and LTM."""
    events = tf.transpose(events, (1, 0, 2))
    mask = None if mask is None else tf.transpose(mask)
    if backwards:
        turn = (lambda t: tf.reverse(t, [0])) if steps is None else (lambda t: tf.roll(tf.reverse(t, [0]), steps, 0))
        events, mask = turn(events), None if mask is None else turn(mask)
    stms, stm, ltm = _recurrence(events, stm, ltm, weights, mask, steps, sequences)
    if not sequences:
        stms = stm[None]
        mask = None if mask is None else _last_mask(mask, steps, zeros)
    if mask is not None:
        stms = shown(stms, mask, zeros, axis=0, before_first="zeros")
    return tf.transpose(stms, (1, 0, 2)), stm, ltm


def _last_mask(mask: Any, steps: Any, zeros: bool) -> Any:
    if zeros:
        return mask[-1:] if steps is None else mask[steps - 1][None]
    return tf.reduce_any(mask, 0, keepdims=True)


def _recurrence(
    events: Any, stm: Any, ltm: Any, weights: tuple, mask: Any, steps: Any, sequences: bool
) -> tuple[Any, Any, Any]:
    """Every STM `(time, batch, units)` (None without `sequences`), the last STM and LTM; time-major events."""
    time = events.shape[0] if events.shape[0] is not None else tf.shape(events)[0]
    end = time if steps is None else steps
    features, units = weights[0].shape[0], weights[1].shape[0]
    present = [weight is not None for weight in weights]

    def named(given: tuple) -> list:
        left = iter(given)
        return [next(left) if there else None for there in present]

    def arrays(*widths: int) -> tuple:
        return tuple(tf.TensorArray(stm.dtype, time, element_shape=(stm.shape[0], width)) for width in widths)

    def loop(body: Callable, *state: Any) -> tuple:
        state = (tf.constant(0), *state)
        return tf.while_loop(
            lambda t, *_: t < end, lambda t, *s: (t + 1, *body(t, *s)), state, maximum_iterations=time
        )[1:]

    @tf.custom_gradient
    def forward(events: Any, stm_0: Any, ltm_0: Any, *given: Any) -> tuple:
        kernel, recurrent_kernel, bias, kept_kernel, kept_bias = named(given)
        joint = tf.concat([kernel, recurrent_kernel], 0)

        def body(t: Any, stm: Any, ltm: Any, *written: Any) -> tuple:
            projected = tf.matmul(tf.concat([events[t], stm], 1), joint)
            projected = projected if bias is None else projected + bias
            new_stm, new_ltm, saved = step(projected, ltm, kept_kernel, kept_bias)
            if mask is not None:
                counts = mask[t][:, None]
                new_stm, new_ltm = tf.where(counts, new_stm, stm), tf.where(counts, new_ltm, ltm)
            return new_stm, new_ltm, *[a.write(t, value) for a, value in zip(written, (new_stm, *saved))]

        stm, ltm, *written = loop(body, stm_0, ltm_0, *arrays(*[units] * 7))
        stms, *written = [a.stack() for a in written]
        saved = Saved(*written)

        def backward(*d_results: Any) -> list:
            d_stms, d_stm, d_ltm = d_results if sequences else (None, *d_results)
            recurrent_t = tf.transpose(recurrent_kernel)
            kept_t = None if kept_kernel is None else tf.transpose(kept_kernel)

            def body(n: Any, d_stm: Any, d_ltm: Any, *written: Any) -> tuple:
                t = end - 1 - n
                d_stm = d_stm if d_stms is None else d_stm + d_stms[t]
                d_projected, d_source, d_before = step_back(Saved(*[s[t] for s in saved]), d_stm, d_ltm, kept_t)
                if mask is not None:
                    counts = mask[t][:, None]
                    d_projected, d_source = [tf.where(counts, d, tf.zeros_like(d)) for d in (d_projected, d_source)]
                    d_before = tf.where(counts, d_before, d_ltm)
                    d_stm = tf.where(counts, tf.zeros_like(d_stm), d_stm)
                else:
                    d_stm = 0
                d_stm = tf.matmul(d_projected, recurrent_t) + d_stm
                return d_stm, d_before, *[a.write(t, d) for a, d in zip(written, (d_projected, d_source))]

            widths = (4 * units,) if kept_kernel is None else (4 * units, units)
            d_stm, d_ltm, *written = loop(body, d_stm, d_ltm, *arrays(*widths))
            d_projected, *d_source = [tf.reshape(a.stack(), (-1, width)) for a, width in zip(written, widths)]
            stm_before = tf.reshape(tf.concat([stm_0[None], stms[:-1]], 0), (-1, units))
            gradients = [
                tf.reshape(tf.matmul(d_projected, kernel, transpose_b=True), tf.shape(events)),
                d_stm,
                d_ltm,
                tf.matmul(tf.reshape(events, (-1, features)), d_projected, transpose_a=True),
                tf.matmul(stm_before, d_projected, transpose_a=True),
            ]
            if bias is not None:
                gradients.append(tf.reduce_sum(d_projected, 0))
            if kept_kernel is not None:
                kept = tf.reshape(saved.before * saved.forget, (-1, units))
                gradients.append(tf.matmul(kept, d_source[0], transpose_a=True))
            if kept_bias is not None:
                gradients.append(tf.reduce_sum(d_source[0], 0))
            return gradients

        return ((stms, stm, ltm) if sequences else (stm, ltm)), backward

    results = forward(events, stm, ltm, *[weight for weight in weights if weight is not None])
    return results if sequences else (None, *results)
