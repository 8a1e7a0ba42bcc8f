"""TensorFlow: the whole loop compiled by XLA with a hand-written gradient, also inside a model that is not compiled.

Graph mode pays a few microseconds for every operation of every step; a compiled loop does not. So the recurrence is a
`tf.function(jit_compile=True)` of its own, an island in the graph. On a CPU with several cores the batch goes through
two islands side by side, which the graph runs in parallel: a single loop keeps only one core busy. A very long or wide
sequence saves only the memories and computes the activations once more on the way back, a chunk of steps at a time.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from keras_gates.sequence.choice import USUAL, has_gpu
from keras_gates.sequence.steps import Saved, shown, step, step_back

SPLIT_FROM = 8  # rows: below, half a batch is no less work for a core than a whole one
SPLIT_WORK = (
    2**15
)  # multiplications a gate and step (an unknown batch counts as `USUAL`): below, a second island costs more
APART_FROM = 2**18  # numbers, two halves of 512 KB in float32: from there XLA shares an operation out among threads
BUCKET = 32  # steps: a time that is known only at run time is compiled for the next multiple
SPARING_FROM = (
    2**25
)  # activations of the four gates over all steps (128 MB in float32): from there memory goes before time
CHUNK = 2**22  # of these activations, computed once more at a time on the way back


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
    chunks = _chunks(events.shape[0], events.shape[1], weights.kernel.shape[1])
    flags = {"backwards": go_backwards, "sequences": return_sequences, "zeros": zero_output_for_mask, "chunks": chunks}
    steps = None
    spare = 0 if events.shape[1] is None else -events.shape[1] % chunks
    if events.shape[1] is None or spare:
        steps = tf.shape(events)[1]
        spare = spare or -steps % BUCKET
        events = tf.pad(events, [[0, 0], [0, spare], [0, 0]])
        mask = None if mask is None else tf.pad(mask, [[0, 0], [0, spare]])

    stm, ltm = tf.convert_to_tensor(stm), tf.convert_to_tensor(ltm)  # a stateful layer's are Keras variables
    tensors = tuple(None if weight is None else tf.convert_to_tensor(weight) for weight in weights)
    features, units = weights.kernel.shape[0], weights.recurrent_kernel.shape[0]
    rows = events.shape[0] or USUAL
    halves = rows * units * (features + units) >= SPLIT_WORK
    apart = halves and rows * (events.shape[1] or USUAL) * max(features, units) >= APART_FROM

    def island(*sequence: Any) -> tuple:
        given = (*sequence, steps, tensors)
        return _around(*given, apart=True, **flags) if apart else _in_xla(_around, *given, apart=False, **flags)

    outputs, stm, ltm = _side_by_side(island, events, stm, ltm, mask) if halves else island(events, stm, ltm, mask)
    if steps is not None and return_sequences:
        outputs = outputs[:, :steps]
    last = outputs[:, -1]
    return last, outputs, [stm, ltm]


def _chunks(batch: int | None, time: int | None, width: int) -> int:
    """Into how many chunks of steps the way back is cut: more than one where the activations of all steps take much memory.

    Then only the memories are saved, and the activations are computed once more, those of a chunk in one matmul.
    """
    activations = (batch or 32) * (time or 0) * width
    return 1 if activations < SPARING_FROM else min(time or 1, activations // CHUNK)


def _turned(steps_first: Any, steps: Any) -> Any:
    """The steps in the other order; what is padded stays behind them."""
    turned = tf.reverse(steps_first, [0])
    return turned if steps is None else tf.roll(turned, steps, 0)


def _side_by_side(island: Callable, *tensors: Any) -> tuple:
    """The island over two halves of the batch where there are cores for both, over the whole otherwise."""
    batch = tensors[0].shape[0]
    in_xla = not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(
        tf.compat.v1.get_default_graph()
    )
    if in_xla or (os.cpu_count() or 1) < 2 or has_gpu("tensorflow") or (batch or SPLIT_FROM) < SPLIT_FROM:
        return island(*tensors)

    def halves() -> list:
        middle = (tf.shape(tensors[0])[0] + 1) // 2 if batch is None else (batch + 1) // 2
        first = island(*[None if tensor is None else tensor[:middle] for tensor in tensors])
        second = island(*[None if tensor is None else tensor[middle:] for tensor in tensors])
        return [tf.concat(both, 0) for both in zip(first, second)]

    if batch is not None:
        return tuple(halves())
    return tuple(tf.cond(tf.shape(tensors[0])[0] < SPLIT_FROM, lambda: list(island(*tensors)), halves))


def _around(
    events: Any,
    stm: Any,
    ltm: Any,
    mask: Any,
    steps: Any,
    weights: tuple,
    *,
    backwards: bool,
    apart: bool,
    **flags: Any,
) -> tuple:
    """The loop and what stands around it: outputs `(batch, time or 1, units)`, STM and LTM.

    XLA shares large operations out among threads, and a loop that follows runs on the thread that ended them: two islands
    that meet there run one after the other. So where they are large only the loop is an island, the rest is `apart`.
    """
    events, mask = tf.transpose(events, (1, 0, 2)), None if mask is None else tf.transpose(mask)
    if backwards:
        events, mask = _turned(events, steps), None if mask is None else _turned(mask, steps)
    joint = tf.concat(weights[:2], 0)
    room = tf.zeros((*tf.unstack(tf.shape(events)[:2]), stm.shape[1]), stm.dtype) if apart else None
    given = (events, stm, ltm, mask, steps, weights, joint, room)
    outputs, stm, ltm = _in_xla(_loop_alone, *given, **flags) if apart else _loop_alone(*given, **flags)
    return tf.transpose(outputs, (1, 0, 2)), stm, ltm


def _in_xla(function: Callable, *given: Any, **flags: Any) -> tuple:
    signature = tuple(t if t is None else (*t.shape, t.dtype) for t in tf.nest.flatten(given))
    return _compiled(function, signature, **flags)(*given)


@functools.cache
def _compiled(function: Callable, signature: tuple, **flags: Any) -> Callable:
    """The island for tensors of one signature. One function for all, and TensorFlow warns of retracing where a few layers
    differ."""
    return tf.function(functools.partial(function, **flags), jit_compile=True, autograph=False)


def _loop_alone(
    events: Any,
    stm: Any,
    ltm: Any,
    mask: Any,
    steps: Any,
    weights: tuple,
    joint: Any,
    room: Any,
    *,
    sequences: bool,
    zeros: bool,
    chunks: int,
) -> tuple:
    """Outputs `(time or 1, batch, units)`, STM and LTM, of time-major events and mask."""
    loop = Loop(events, steps, mask, weights, joint, room, sequences, chunks)
    *stms, stm, ltm = loop.run(events, stm, ltm, *[weight for weight in weights if weight is not None])
    stms = stms[0] if sequences else stm[None]
    if mask is not None and not sequences:
        mask = _last_mask(mask, steps, zeros)
    if mask is not None:
        stms = shown(stms, mask, zeros, axis=0, before_first="zeros")
    return stms, stm, ltm


def _last_mask(mask: Any, steps: Any, zeros: bool) -> Any:
    if zeros:
        return mask[-1:] if steps is None else mask[steps - 1][None]
    return tf.reduce_any(mask, 0, keepdims=True)


class Loop:
    """The recurrence over time-major events, forward and backward. Its arguments and gradients are flat lists of tensors:
    events, STM, LTM and the weights that are there. Its results are every STM (with `sequences`), the last STM and LTM.
    `chunks` divides the number of steps."""

    def __init__(
        self,
        events: Any,
        steps: Any,
        mask: Any,
        weights: tuple,
        joint: Any,
        room: Any,
        sequences: bool,
        chunks: int,
    ) -> None:
        self.time = events.shape[0] if events.shape[0] is not None else tf.shape(events)[0]
        self.end = self.time if steps is None else steps
        self.units = weights[1].shape[0]
        self.present = [weight is not None for weight in weights]
        self.mask = mask
        self.joint = joint
        self.room = room
        self.sequences = sequences
        self.chunks = chunks

    def run(self, *given: Any) -> tuple:
        """The results, with the hand-written gradient."""

        @tf.custom_gradient
        def results(*given: Any) -> tuple:
            answers, *saved = self.forward(*given)
            saved = tf.nest.map_structure(tf.stop_gradient, saved)  # so that a second gradient meets `once`

            def gradient(*d_answers: Any) -> tuple:
                return once(*given, *d_answers)

            @tf.custom_gradient
            def once(*both: Any) -> tuple:
                return self.backward(both[: len(given)], saved, both[len(given) :]), _no_second_gradient

            return answers, gradient

        return results(*given)

    def forward(self, events: Any, stm: Any, ltm: Any, *weights: Any) -> tuple:
        """The results, every STM, and of every step what the way back needs: `Saved`, or with several chunks its LTM before."""
        _, _, bias, kept_kernel, kept_bias = self.named(weights)

        def body(t: Any, stm: Any, ltm: Any, *arrays: Any) -> tuple:
            projected = tf.matmul(tf.concat([events[t], stm], 1), self.joint)
            projected = projected if bias is None else projected + bias
            new_stm, new_ltm, saved = step(projected, ltm, kept_kernel, kept_bias)
            if self.mask is not None:
                counts = self.mask[t][:, None]
                new_stm, new_ltm = tf.where(counts, new_stm, stm), tf.where(counts, new_ltm, ltm)
            return new_stm, new_ltm, *[array.write(t, value) for array, value in zip(arrays, (new_stm, *saved))]

        widths = [self.units] * (7 if self.chunks == 1 else 2)
        stm, ltm, stms, *saved = _loop(body, stm, ltm, widths, self.time, self.end, self.room)
        return (stms, stm, ltm) if self.sequences else (stm, ltm), stms, *saved

    def backward(self, given: tuple, saved: list, d_results: tuple) -> list:
        """The gradients of `given`, chunk by chunk."""
        events, stm_0, _, *weights = given
        _, _, bias, kept_kernel, kept_bias = self.named(weights)
        d_stms, d_stm, d_ltm = d_results if self.sequences else (None, *d_results)
        stms, *saved = saved
        if self.chunks == 1:
            stm_before = tf.concat([stm_0[None], stms[:-1]], 0)
            given = (events, stm_before, Saved(*saved), weights)
            d_events, d_stm, d_ltm, d_weights = self.chunk_back(0, *given, d_stms, d_stm, d_ltm)
            return [d_events, d_stm, d_ltm, *d_weights]

        length = self.time // self.chunks
        parts = [tf.reshape(every, (self.chunks, length, -1, every.shape[-1])) for every in (events, stms, *saved)]

        def body(n: Any, d_stm: Any, d_ltm: Any, d_events: Any, *d_weights: Any) -> tuple:
            c = self.chunks - 1 - n
            events, chunk_stms, before = [part[c] for part in parts]
            first = tf.where(c > 0, stms[tf.maximum(c * length, 1) - 1], stm_0)
            stm_before = tf.concat([first[None], chunk_stms[:-1]], 0)
            projected = tf.matmul(tf.concat([events, stm_before], 2), self.joint)
            projected = projected if bias is None else projected + bias
            given = (events, stm_before, step(projected, before, kept_kernel, kept_bias)[2], weights)
            d_event, d_stm, d_ltm, found = self.chunk_back(c * length, *given, d_stms, d_stm, d_ltm)
            return n + 1, d_stm, d_ltm, d_events.write(c, d_event), *[old + new for old, new in zip(d_weights, found)]

        d_events = tf.TensorArray(events.dtype, self.chunks, element_shape=(length, *events.shape[1:]))
        _, d_stm, d_ltm, d_events, *d_weights = tf.while_loop(
            lambda n, *_: n < self.chunks,
            body,
            (tf.constant(0), d_stm, d_ltm, d_events, *[tf.zeros_like(weight) for weight in weights]),
            maximum_iterations=self.chunks,
        )
        return [tf.reshape(d_events.stack(), tf.shape(events)), d_stm, d_ltm, *d_weights]

    def chunk_back(
        self,
        start: Any,
        events: Any,
        stm_before: Any,
        saved: Saved,
        weights: list,
        d_stms: Any,
        d_stm: Any,
        d_ltm: Any,
    ) -> tuple[Any, Any, Any, list]:
        """The gradients of events, STM, LTM and weights over the steps from `start` on: one matmul a step in the loop, the
        weights' after it over all steps at once."""
        kernel, recurrent_kernel, bias, kept_kernel, kept_bias = self.named(weights)
        recurrent_t = tf.transpose(recurrent_kernel)
        kept_t = None if kept_kernel is None else tf.transpose(kept_kernel)
        length = self.time // self.chunks
        count = tf.clip_by_value(self.end - start, 0, length)

        def body(n: Any, d_stm: Any, d_ltm: Any, *arrays: Any) -> tuple:
            t = count - 1 - n
            d_stm = d_stm if d_stms is None else d_stm + d_stms[start + t]
            *d_inside, d_before = step_back(Saved(*[value[t] for value in saved]), d_stm, d_ltm, kept_t)
            if self.mask is not None:
                counts = self.mask[start + t][:, None]
                d_inside = [tf.where(counts, d, tf.zeros_like(d)) for d in d_inside]
                d_before = tf.where(counts, d_before, d_ltm)
            new_d_stm = tf.matmul(d_inside[0], recurrent_t)
            if self.mask is not None:
                new_d_stm += tf.where(counts, tf.zeros_like(d_stm), d_stm)
            return new_d_stm, d_before, *[array.write(t, d) for array, d in zip(arrays, d_inside)]

        widths = [4 * self.units] if kept_kernel is None else [4 * self.units, self.units]
        d_stm, d_ltm, d_projected, *d_source = _loop(body, d_stm, d_ltm, widths, length, count)
        d_weights = [_over_all_steps(events, d_projected), _over_all_steps(stm_before, d_projected)]
        if bias is not None:
            d_weights.append(tf.reduce_sum(d_projected, (0, 1)))
        if kept_kernel is not None:
            d_weights.append(_over_all_steps(saved.before * saved.forget, d_source[0]))
        if kept_bias is not None:
            d_weights.append(tf.reduce_sum(d_source[0], (0, 1)))
        return tf.matmul(d_projected, kernel, transpose_b=True), d_stm, d_ltm, d_weights

    def named(self, weights: Any) -> list:
        """Kernel, recurrent kernel, bias, kept kernel, kept bias; None for what is not there."""
        left = iter(weights)
        return [next(left) if there else None for there in self.present]


def _loop(body: Callable, stm: Any, ltm: Any, widths: list[int], length: Any, count: Any, room: Any = None) -> tuple:
    """`body` `count` times: what it carries, and one `(length, batch, width)` tensor for each of `widths`, which starts as
    `room` or as zeros."""
    arrays = [tf.TensorArray(stm.dtype, length, element_shape=(stm.shape[0], width)) for width in widths]
    arrays = arrays if room is None else [array.unstack(room) for array in arrays]
    _, stm, ltm, *arrays = tf.while_loop(
        lambda n, *_: n < count,
        lambda n, *state: (n + 1, *body(n, *state)),
        (tf.constant(0), stm, ltm, *arrays),
    )
    return stm, ltm, *[array.stack() for array in arrays]


def _no_second_gradient(*_: Any) -> Any:
    raise ValueError(
        "GateLSTM: the compiled loop has a first gradient only; a gradient of a gradient was asked for. "
        "Build the layer with loop='portable'."
    )


def _over_all_steps(left: Any, right: Any) -> Any:
    """The sum over steps and batch of `left.T @ right`, one large matmul."""
    left, right = (tf.reshape(t, (-1, t.shape[-1])) for t in (left, right))
    return tf.matmul(left, right, transpose_a=True)
