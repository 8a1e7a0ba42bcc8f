"""TensorFlow: the whole loop compiled by XLA with a hand-written gradient, also inside a model that is not compiled.

Graph mode costs a few microseconds per operation and time step; a compiled loop does not. So the recurrence is a
`tf.function(jit_compile=True)` of its own, an island in the graph. On a CPU with several cores the batch is split into
two islands, which the graph runs in parallel: a single loop keeps only one core busy. For a very long or wide sequence only the
memories are saved, and the backward pass recomputes the activations, a chunk of time steps at a time.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_gates._compat import in_xla_context
from keras_gates.loops.compiled_recurrence import Recurrence
from keras_gates.loops.inputs import LoopInputs, LoopResult, Weights
from keras_gates.loops.select import USUAL, has_gpu
from keras_gates.loops.step_gradient import masked_output

SPLIT_FROM = 8  # rows: below, half a batch is no less work for a core than a whole one
SPLIT_WORK = (
    2**15
)  # multiplications per gate and time step, an unknown batch counting as `USUAL`: below, one island is faster
APART_FROM = 2**18  # numbers, two halves of 512 KB in float32: from there XLA distributes an operation among threads
BUCKET = 32  # time steps: a length that is known only at run time is compiled for the next multiple
SPARING_FROM = (
    2**25
)  # activations of the gates over all steps, 128 MB in float32: from there memory matters more than time
CHUNK = 2**22  # of these activations, recomputed at a time in the backward pass


def run(inputs: LoopInputs) -> LoopResult:
    """Run the plain gates with tanh and sigmoid over a sequence."""
    dtype = inputs.events.dtype
    if dtype in (tf.float16, tf.bfloat16) and not has_gpu("tensorflow"):
        # A CPU has no half-precision arithmetic: XLA would convert at every operation of every time step.
        last, outputs, memories = _run(_cast(inputs, tf.float32))
        return tf.nest.map_structure(lambda tensor: tf.cast(tensor, dtype), (last, outputs, memories))
    return _run(inputs)


def _cast(inputs: LoopInputs, dtype: tf.DType) -> LoopInputs:
    def cast(tensor: Any) -> Any:
        return None if tensor is None else tf.cast(tensor, dtype)

    memories = {"events": cast(inputs.events), "stm": cast(inputs.stm), "ltm": cast(inputs.ltm)}
    return dataclasses.replace(inputs, **memories, weights=Weights(*map(cast, inputs.weights)))


def _run(inputs: LoopInputs) -> LoopResult:
    events, mask, weights = inputs.events, inputs.mask, inputs.weights
    chunks = _chunks(events.shape[0], events.shape[1], weights.kernel.shape[1])
    flags: dict[str, Any] = {
        "backwards": inputs.go_backwards,
        "sequences": inputs.return_sequences,
        "zeros": inputs.zero_output_for_mask,
        "chunks": chunks,
    }
    # XLA compiles for one length. A length that is known only at run time is padded to a multiple of `BUCKET`, so that few
    # lengths are compiled, and one that the chunks do not divide to a multiple of them; the loop ends after `steps`.
    steps = None
    spare = 0 if events.shape[1] is None else -events.shape[1] % chunks
    if events.shape[1] is None or spare:
        steps = tf.shape(events)[1]
        spare = spare or -steps % BUCKET
        events = tf.pad(events, [[0, 0], [0, spare], [0, 0]])
        mask = None if mask is None else tf.pad(mask, [[0, 0], [0, spare]])

    stm, ltm = (
        tf.convert_to_tensor(inputs.stm),
        tf.convert_to_tensor(inputs.ltm),
    )  # a stateful layer's are Keras variables
    tensors = tuple(None if weight is None else tf.convert_to_tensor(weight) for weight in weights)
    features, units = weights.kernel.shape[0], weights.units
    rows = events.shape[0] or USUAL
    halves = rows * units * (features + units) >= SPLIT_WORK
    apart = halves and rows * (events.shape[1] or USUAL) * max(features, units) >= APART_FROM

    def island(*sequence: Any) -> tuple:
        arguments = (*sequence, steps, tensors)
        if apart:
            return _transposed_loop(*arguments, apart=True, **flags)
        return _in_xla(_transposed_loop, *arguments, apart=False, **flags)

    outputs, stm, ltm = _in_parallel(island, events, stm, ltm, mask) if halves else island(events, stm, ltm, mask)
    if steps is not None and inputs.return_sequences:
        outputs = outputs[:, :steps]
    return outputs[:, -1], outputs, [stm, ltm]


def _chunks(batch: int | None, time: int | None, width: int) -> int:
    """Return the number of chunks of time steps in the backward pass: several where all activations take much memory.

    Then only the memories are saved, and the activations of a chunk are recomputed in one matmul.
    """
    activations = (batch or 32) * (time or 0) * width
    return 1 if activations < SPARING_FROM else min(time or 1, activations // CHUNK)


def _reversed(time_major: Any, steps: Any) -> Any:
    """Return the time steps in reverse order; padding stays behind them."""
    backwards = tf.reverse(time_major, [0])
    return backwards if steps is None else tf.roll(backwards, steps, 0)


def _in_parallel(island: Callable, *tensors: Any) -> tuple:
    """Run the island over two halves of the batch where there are cores for both, over the whole batch otherwise."""
    batch = tensors[0].shape[0]
    # Inside a graph that XLA compiles as a whole, islands are inlined and run one after the other.
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


def _transposed_loop(
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
    """Return outputs `(batch, time or 1, units)`, STM and LTM of batch-major events: the loop and the transpositions around it.

    XLA distributes a large operation among threads, and a loop that follows runs on the thread that finished it, for which the
    other island may be waiting: they would run one after the other. So for large sequences only the loop is compiled, and what is
    around it stays `apart` in the graph.
    """
    events, mask = tf.transpose(events, (1, 0, 2)), None if mask is None else tf.transpose(mask)
    if backwards:
        events, mask = _reversed(events, steps), None if mask is None else _reversed(mask, steps)
    joint = tf.concat(weights[:2], 0)
    # Filling the loop's arrays with zeros is such a large operation.
    blank = tf.zeros((*tf.unstack(tf.shape(events)[:2]), stm.shape[1]), stm.dtype) if apart else None
    arguments = (events, stm, ltm, mask, steps, weights, joint, blank)
    outputs, stm, ltm = _in_xla(_loop, *arguments, **flags) if apart else _loop(*arguments, **flags)
    return tf.transpose(outputs, (1, 0, 2)), stm, ltm


def _in_xla(function: Callable, *arguments: Any, **flags: Any) -> tuple:
    signature = tuple(t if t is None else (*t.shape, t.dtype) for t in tf.nest.flatten(arguments))
    return _compiled(function, signature, **flags)(*arguments)


@functools.cache
def _compiled(function: Callable, signature: tuple, **flags: Any) -> Callable:
    """Return the compiled function for tensors of one signature.

    With one function for all signatures TensorFlow would warn of retracing as soon as a few layers differ.
    """
    return tf.function(functools.partial(function, **flags), jit_compile=True, autograph=False)


def _loop(
    events: Any,
    stm: Any,
    ltm: Any,
    mask: Any,
    steps: Any,
    weights: tuple,
    joint: Any,
    blank: Any,
    *,
    sequences: bool,
    zeros: bool,
    chunks: int,
) -> tuple:
    """Return outputs `(time or 1, batch, units)`, STM and LTM, of time-major events and mask."""
    loop = Recurrence(events, steps, mask, weights, joint, blank, sequences, chunks)
    *stms, stm, ltm = loop.run(events, stm, ltm, *[weight for weight in weights if weight is not None])
    stms = stms[0] if sequences else stm[None]
    if mask is not None and not sequences:
        mask = _last_mask(mask, steps, zeros)
    if mask is not None:
        stms = masked_output(stms, mask, zeros, axis=0, before_first="zeros")
    return stms, stm, ltm


def _last_mask(mask: Any, steps: Any, zeros: bool) -> Any:
    """Return the mask of the last output: of the last time step, or whether any event counted, as Keras' loop has it."""
    if zeros:
        return mask[-1:] if steps is None else mask[steps - 1][None]
    return tf.reduce_any(mask, 0, keepdims=True)
