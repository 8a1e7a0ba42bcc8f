"""TensorFlow: the recurrence over time-major events, forward and with a hand-written gradient, as XLA compiles it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_gates.loops.step_gradient import Saved, step, step_back


class Recurrence:
    """The recurrence over time-major events, forward and backward.

    Its arguments and their gradients are flat lists of tensors: events, STM, LTM and the weights that are not None, because
    `tf.custom_gradient` takes nothing else. Its results are every STM (with `sequences`), the last STM and LTM.

    Args:
        events: `(time, batch, features)`.
        steps: scalar, the number of time steps that are not padding; None: all.
        mask: `(time, batch)` booleans, or None.
        weights: the fields of `keras_gates.loops.inputs.Weights`.
        joint: `[kernel; recurrent_kernel]`, `(features + units, 4 * units)`.
        blank: `(time, batch, units)` zeros for the loop's arrays to start as, or None: they are created in the loop's function.
        sequences: whether to return every STM.
        chunks: number of chunks of the backward pass; it divides the number of time steps.
    """

    def __init__(
        self,
        events: Any,
        steps: Any,
        mask: Any,
        weights: tuple,
        joint: Any,
        blank: Any,
        sequences: bool,
        chunks: int,
    ) -> None:
        self.time = events.shape[0] if events.shape[0] is not None else tf.shape(events)[0]
        self.end = self.time if steps is None else steps
        self.units = weights[1].shape[0]
        self.present = [weight is not None for weight in weights]
        self.mask = mask
        self.joint = joint
        self.blank = blank
        self.sequences = sequences
        self.chunks = chunks

    def run(self, *arguments: Any) -> tuple:
        """Return the results, with the hand-written gradient."""

        @tf.custom_gradient
        def forward(*arguments: Any) -> tuple:
            results, *saved = self.forward(*arguments)
            saved = tf.nest.map_structure(
                tf.stop_gradient, saved
            )  # or a second gradient would bypass `backward`'s error

            def gradient(*d_results: Any) -> tuple:
                return backward(*arguments, *d_results)

            # The gradient has a gradient function itself, which raises: without it a second gradient would be wrong.
            @tf.custom_gradient
            def backward(*both: Any) -> tuple:
                return self.backward(both[: len(arguments)], saved, both[len(arguments) :]), _no_second_gradient

            return results, gradient

        return forward(*arguments)

    def forward(self, events: Any, stm: Any, ltm: Any, *weights: Any) -> tuple:
        """Return the results, every STM, and what the backward pass needs of every time step.

        That is `Saved`; with several chunks only its first field, LTM_{t-1}.
        """
        _, _, bias, kept_kernel, kept_bias = self.named(weights)

        def body(t: Any, stm: Any, ltm: Any, *arrays: Any) -> tuple:
            # Events are not projected ahead: next to a slice of projected events XLA does not vectorise the cutting into
            # gates on a CPU. One matmul per time step of [event, STM] takes half the time.
            projected = tf.matmul(tf.concat([events[t], stm], 1), self.joint)
            projected = projected if bias is None else projected + bias
            new_stm, new_ltm, saved = step(projected, ltm, kept_kernel, kept_bias)
            if self.mask is not None:
                counts = self.mask[t][:, None]
                new_stm, new_ltm = tf.where(counts, new_stm, stm), tf.where(counts, new_ltm, ltm)
            return new_stm, new_ltm, *[array.write(t, value) for array, value in zip(arrays, (new_stm, *saved))]

        # Gate by gate, not as one block of four: cutting a block next to a slice costs the backward loop up to twice the time.
        widths = [self.units] * (7 if self.chunks == 1 else 2)
        stm, ltm, stms, *saved = _loop(body, stm, ltm, widths, self.time, self.end, self.blank)
        return (stms, stm, ltm) if self.sequences else (stm, ltm), stms, *saved

    def backward(self, arguments: tuple, saved: list, d_results: tuple) -> list:
        """Return the gradients of `arguments`, chunk by chunk."""
        events, stm_0, _, *weights = arguments
        _, _, bias, kept_kernel, kept_bias = self.named(weights)
        d_stms, d_stm, d_ltm = d_results if self.sequences else (None, *d_results)
        stms, *saved = saved
        if self.chunks == 1:
            stm_before = tf.concat([stm_0[None], stms[:-1]], 0)
            chunk = (events, stm_before, Saved(*saved), weights)
            d_events, d_stm, d_ltm, d_weights = self.chunk_back(0, *chunk, d_stms, d_stm, d_ltm)
            return [d_events, d_stm, d_ltm, *d_weights]

        length = self.time // self.chunks
        parts = [tf.reshape(every, (self.chunks, length, -1, every.shape[-1])) for every in (events, stms, *saved)]

        def body(n: Any, d_stm: Any, d_ltm: Any, d_events: Any, *d_weights: Any) -> tuple:
            c = self.chunks - 1 - n
            events, chunk_stms, before = [part[c] for part in parts]
            first = tf.where(c > 0, stms[tf.maximum(c * length, 1) - 1], stm_0)
            stm_before = tf.concat([first[None], chunk_stms[:-1]], 0)
            # The forward pass saved the memories alone: recompute the activations of the chunk, all its steps in one matmul.
            projected = tf.matmul(tf.concat([events, stm_before], 2), self.joint)
            projected = projected if bias is None else projected + bias
            chunk = (events, stm_before, step(projected, before, kept_kernel, kept_bias)[2], weights)
            d_event, d_stm, d_ltm, d_chunk = self.chunk_back(c * length, *chunk, d_stms, d_stm, d_ltm)
            return n + 1, d_stm, d_ltm, d_events.write(c, d_event), *[old + new for old, new in zip(d_weights, d_chunk)]

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
        """Return the gradients of events, STM, LTM and weights over one chunk, whose first time step is `start`.

        The loop has one matmul per time step; the weights' gradients follow it, over all its steps at once.
        """
        kernel, recurrent_kernel, bias, kept_kernel, kept_bias = self.named(weights)
        recurrent_t = tf.transpose(recurrent_kernel)  # once, not as an operand of the loop's matmul, where it is slower
        kept_t = None if kept_kernel is None else tf.transpose(kept_kernel)
        length = self.time // self.chunks
        count = tf.clip_by_value(self.end - start, 0, length)

        def body(t: Any, d_stm: Any, d_ltm: Any, *arrays: Any) -> tuple:
            d_stm = d_stm if d_stms is None else d_stm + d_stms[start + t]
            *d_inside, d_before = step_back(Saved(*[value[t] for value in saved]), d_stm, d_ltm, kept_t)
            if self.mask is not None:  # a skipped event has no gradient, and the memories' gradients pass it unchanged
                counts = self.mask[start + t][:, None]
                d_inside = [tf.where(counts, d, tf.zeros_like(d)) for d in d_inside]
                d_before = tf.where(counts, d_before, d_ltm)
            new_d_stm = tf.matmul(d_inside[0], recurrent_t)
            if self.mask is not None:
                new_d_stm += tf.where(counts, tf.zeros_like(d_stm), d_stm)
            return new_d_stm, d_before, *[array.write(t, d) for array, d in zip(arrays, d_inside)]

        widths = [4 * self.units] if kept_kernel is None else [4 * self.units, self.units]
        d_stm, d_ltm, d_projected, *d_source = _loop(body, d_stm, d_ltm, widths, length, count, backwards=True)
        d_weights = [_over_all_steps(events, d_projected), _over_all_steps(stm_before, d_projected)]
        if bias is not None:
            d_weights.append(tf.reduce_sum(d_projected, (0, 1)))
        if kept_kernel is not None:
            d_weights.append(_over_all_steps(saved.before * saved.forget, d_source[0]))
        if kept_bias is not None:
            d_weights.append(tf.reduce_sum(d_source[0], (0, 1)))
        return tf.matmul(d_projected, kernel, transpose_b=True), d_stm, d_ltm, d_weights

    def named(self, weights: Any) -> list:
        """Return kernel, recurrent kernel, bias, kept kernel and kept bias; None for those the layer does not have."""
        left = iter(weights)
        return [next(left) if there else None for there in self.present]


def _loop(
    body: Callable,
    stm: Any,
    ltm: Any,
    widths: list[int],
    length: Any,
    count: Any,
    blank: Any = None,
    backwards: bool = False,
) -> tuple:
    """Run `body` for the steps up to `count`, or from there backwards; return what it carries and a tensor per entry of `widths`.

    The tensors, `(length, batch, width)`, start as `blank`, or as zeros. There is no `maximum_iterations`, which adds two
    operations to every time step.
    """
    arrays = [tf.TensorArray(stm.dtype, length, element_shape=(stm.shape[0], width)) for width in widths]
    arrays = arrays if blank is None else [array.unstack(blank) for array in arrays]
    # A step counted down is carried, not computed from `count`: an index that depends on what the loop does not change must be
    # constant for XLA, which would compile for every number of steps.
    _, stm, ltm, *arrays = tf.while_loop(
        lambda n, *_: n >= 0 if backwards else n < count,
        lambda n, *state: (n - 1 if backwards else n + 1, *body(n, *state)),
        (count - 1 if backwards else tf.constant(0), stm, ltm, *arrays),
    )
    return stm, ltm, *[array.stack() for array in arrays]


def _no_second_gradient(*_: Any) -> Any:
    raise ValueError(
        "GateLSTM: the compiled loop has a first gradient only; a gradient of a gradient was requested. "
        "Build the layer with loop='portable'."
    )


def _over_all_steps(left: Any, right: Any) -> Any:
    """Return the sum over time steps and batch of `left.T @ right`, one large matmul."""
    left, right = (tf.reshape(t, (-1, t.shape[-1])) for t in (left, right))
    return tf.matmul(left, right, transpose_a=True)
