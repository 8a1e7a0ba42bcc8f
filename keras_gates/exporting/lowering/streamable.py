"""Whether a model can run event by event.

It is tried: every layer's output at the last event must be the one it has in the whole sequence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_gates import _compat
from keras_gates.exporting.lowering.lower import LoopCall, LoweredModel
from keras_gates.exporting.lowering.stream_layers import NotInStreams, StreamMemory
from keras_gates.exporting.model_inputs import Inputs, Sample


@dataclass(frozen=True)
class Streaming:
    """Whether a model runs event by event.

    Attributes:
        why_not: the layer that cannot and the reason; empty if all can.
        layer_memories: pairs (layer, shape for a batch of 1) of what convolutions and pooling remember.
    """

    why_not: str
    layer_memories: tuple[tuple[str, tuple[int, ...]], ...] = ()


def streaming_of(
    model: keras.Model,
    inputs: Inputs,
    calls: list[LoopCall],
    sample: Sample,
    events: int,
    is_stream: bool,
    integers: bool = False,
) -> Streaming:
    """Try whether a model runs event by event.

    Args:
        model: The model.
        inputs: Its inputs.
        calls: Its recurrent calls.
        sample: One whole sequence.
        events: Time steps per call.
        is_stream: The file is for a stream: convolutions and pooling remember too.
        integers: Its activations are integers.
    """
    kept: list[tuple[str, tuple[int, ...]]] = []
    memory = StreamMemory(events, integers=integers) if is_stream else None
    why_not = _why_not(model, inputs, calls, sample, events, kept, memory)
    return Streaming(why_not, tuple(kept))


def _why_not(
    model: keras.Model,
    inputs: Inputs,
    calls: list[LoopCall],
    sample: Sample,
    events: int,
    kept: list[tuple[str, tuple[int, ...]]],
    memory: StreamMemory | None,
) -> str:
    if not inputs.timed:
        return f"{model.name} has no input with a time axis"
    for call in calls:
        if not call.local and call.layer.go_backwards:
            return f"{_parent(model, call.layer).name} runs backwards in time and needs the last event first"
        if call.given_state and not call.local:
            return f"{call.name} has an initial state that another layer computes from the whole sequence"
    whole, steps = _Watched(model), sample[[port.time for port in inputs.ports].index(True)].shape[1]
    steps -= steps % events
    if not steps:
        return f"the sample has fewer than the {events} events of one call"
    sample = [x[:, :steps] if port.time and inputs.steps is None else x for x, port in zip(sample, inputs.ports)]
    whole.run(inputs, sample, None)
    stepped = _Watched(model, memory)
    memories = [
        tf.nest.map_structure(lambda size: tf.zeros((1, size)), list(call.layer.state_size))
        for call in calls
        if not call.local
    ]
    for step in range(0, steps, events):
        part = [x[:, step : step + events] if port.time else x for x, port in zip(sample, inputs.ports)]
        try:
            memories = stepped.run(inputs, part, memories)
        except NotInStreams as error:
            return f"{stepped.running}: {_reason(error)}"
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            return f"{stepped.running} does not take one event ({_reason(error):.100})"
    if stepped.memory is not None and stepped.memory.within:
        return stepped.memory.within
    for (layer, at_once), (_, at_last) in zip(whole.outputs, stepped.outputs):
        if memory is not None and isinstance(layer, keras.layers.ZeroPadding1D):
            continue  # in a stream it changes nothing: the convolution after it starts from zeros
        if not _same(at_once, at_last, steps // events, 0 if stepped.memory is None else stepped.memory.warmup):
            return f"{layer.name} ({type(layer).__name__}) needs the whole sequence"
    if stepped.memory is not None:
        kept += [(name, tuple(x.shape)) for name, x in zip(stepped.memory.names, stepped.memory.after)]
    return ""


def _reason(error: Exception) -> str:
    """Return the line of Keras' error that has the reason, without colours."""
    lines = re.sub("\x1b\\[[0-9;]*m", "", str(error)).splitlines()
    return next((line.strip() for line in lines if line.strip() and not line.startswith("Exception enc")), "")


class _Watched:
    """A lowered model that keeps every layer's output of the latest run.

    Attributes:
        outputs: pairs (layer, its flat outputs).
        running: name of the layer that was called last.
    """

    def __init__(self, model: keras.Model, memory: StreamMemory | None = None) -> None:
        self.outputs: list[tuple[Any, list[np.ndarray]]] = []
        self.running = model.name
        self.memory = memory
        self._lowered = LoweredModel(model, stream=True, watch=(self._begin, self._end))

    def run(self, inputs: Inputs, sample: Sample, memories: list | None) -> list:
        self.outputs = []
        tensors = [tf.convert_to_tensor(x) for x in sample]
        lowering = "step" if memories else "unrolled"
        if self.memory is not None:
            self.memory = StreamMemory(self.memory.events, self.memory.after or None, self.memory.integers)
        run = self._lowered.run(inputs.pack(tensors), lowering, memories=memories, layer_memory=self.memory)
        return run.memories

    def _begin(self, layer: keras.layers.Layer) -> None:
        self.running = layer.name

    def _end(self, layer: keras.layers.Layer, output: Any) -> None:
        self.outputs.append((layer, [np.asarray(x) for x in tf.nest.flatten(output)]))


def _parent(model: keras.Model, layer: keras.layers.Layer) -> keras.layers.Layer:
    for each in _compat.flatten_layers(model):
        if isinstance(each, keras.layers.Bidirectional) and layer in (each.forward_layer, each.backward_layer):
            return each
    return layer


def _same(at_once: list[np.ndarray], at_last: list[np.ndarray], calls: int, warmup: int) -> bool:
    if len(at_once) != len(at_last):
        return False
    for one, other in zip(at_once, at_last):
        if (
            one.shape != other.shape
        ):  # only a time axis may differ, maybe folded into the batch of 1: the last event is compared
            if len(one) != len(other):
                one, other = one[None], other[None]
            over_time = (
                one.ndim == other.ndim > 1 and 0 <= calls * other.shape[1] - one.shape[1] <= warmup * other.shape[1]
            )
            if not over_time or one.shape[2:] != other.shape[2:]:
                return False
            one = one[:, -other.shape[1] :]
        if not np.allclose(one, other, rtol=1e-3, atol=1e-4):
            return False
    return True
