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

from keras_gates._compat import in_xla_context
from keras_gates.loops.compiled_recurrence import Loop
from keras_gates.loops.select import USUAL, has_gpu
from keras_gates.loops.step_gradient import shown

SPLIT_FROM = 8  # rows: below, half a batch is no less work for a core than a whole one
SPLIT_WORK = 2**15  # multiplications a gate and step, an unknown batch counting as `USUAL`: below, one island is less
APART_FROM = 2**18  # numbers, two halves of 512 KB in float32: from there XLA shares an operation out among threads
BUCKET = 32  # steps: a time that is known only at run time is compiled for the next multiple
SPARING_FROM = 2**25  # activations of the gates over all steps, 128 MB in float32: from there memory goes before time
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
    """Run the plain cell over a sequence; arguments and result as for `keras_gates.loops.portable.run`.

    Half precision is computed in float32 on a CPU, whose compiled loops have no other arithmetic and would convert at every
    operation of every step.
    """
    if events.dtype in (tf.float16, tf.bfloat16) and not has_gpu("tensorflow"):
        options = {"mask": mask, "go_backwards": go_backwards, "return_sequences": return_sequences}
        options["zero_output_for_mask"] = zero_output_for_mask
        wide = [None if tensor is None else tf.cast(tensor, tf.float32) for tensor in (events, stm, ltm, *weights)]
        last, outputs, memories = run(*wide[:3], type(weights)(*wide[3:]), **options)
        return tf.nest.map_structure(lambda tensor: tf.cast(tensor, events.dtype), (last, outputs, memories))
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
    in_xla = not tf.executing_eagerly() and in_xla_context()
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
