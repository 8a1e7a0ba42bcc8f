"""From a Keras model to TensorFlow functions with fixed shapes: its recurrent calls, and the signature of a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_gates.exporting.lowering.lower import LoopCall, LoweredModel, LoweredRun
from keras_gates.exporting.lowering.masks import Padding, padding_values
from keras_gates.exporting.lowering.recurrent import cells_of
from keras_gates.exporting.lowering.rules import Lowering
from keras_gates.exporting.lowering.stream_layers import StreamMemory, stride_of
from keras_gates.exporting.model_inputs import Inputs, output_names
from keras_gates.exporting.options import ExportRequest


@dataclass(frozen=True)
class Traced:
    """A model's graph, as far as its lowering depends on it.

    Attributes:
        calls: the recurrent calls in order.
        padded: input whose padding the results depend on → the value that is padding.
    """

    calls: list[LoopCall]
    padded: dict[str, float]


@dataclass(frozen=True)
class LoweredSignature:
    """One function with fixed shapes.

    Attributes:
        key: its name in the file.
        traced: the tf.function.
        function: its one concrete function.
        inputs, outputs: name → role, in the file's order.
        over_time: prediction → whether its axis 1 is time.
        events: time steps per call; None if a call takes the whole sequence.
        counts: lengths input → the input whose valid steps it counts.
        padded: that input → the value that is padding.
        states: memories, each with layer, kind, input, output, shape.
        warmup: calls after a reset whose predictions are not valid.
    """

    key: str
    traced: Any
    function: Any
    inputs: dict[str, str]
    outputs: dict[str, str]
    over_time: dict[str, bool]
    events: int | None = None
    counts: dict[str, str] = field(default_factory=dict)
    padded: dict[str, float] = field(default_factory=dict)
    states: list[dict[str, Any]] = field(default_factory=list)
    warmup: int = 0


def trace_calls(model: keras.Model, inputs: Inputs, batch: int, steps: int, right_padded: bool) -> Traced:
    """Trace the model once with plain loops, to see how its recurrent layers are called and what of them is read.

    Args:
        model: The model.
        inputs: Its inputs.
        batch: Sequences per call.
        steps: Time steps per sequence.
        right_padded: Whether padding is only at the end, so that lengths describe it.
    """
    lowered = LoweredModel(model)
    values = padding_values(model) if right_padded else []
    ports = [port for port in inputs.ports if port.time]
    runs: list[tuple[LoweredRun, dict[str, Any]]] = []

    def whole(**tensors):
        events = [tensors[port.name] for port in inputs.ports]
        lengths = {port.name: tensors[f"{port.name}_lengths"] for port in ports} if values else {}
        paddings = {id(tensors[name]): Padding(x, steps) for name, x in lengths.items()}
        runs.append((lowered.run(inputs.pack(events), "while", paddings), lengths))
        return runs[-1][0].results

    specs = {port.name: port.spec(batch, steps) for port in inputs.ports}
    specs |= {f"{port.name}_lengths": tf.TensorSpec((batch,), tf.int32) for port in ports if values}
    tf.function(whole, autograph=False).get_concrete_function(**specs)
    run, lengths = runs[-1]
    reached = _reached(run.results)
    for call in run.calls:
        call.ltm_read = any(id(x.op) in reached for x in tf.nest.flatten(call.ltm) if tf.is_tensor(x))
        call.ltm = None
    return Traced(run.calls, {name: values[0] for name, x in lengths.items() if id(x.op) in reached})


def signature_of(request: ExportRequest, lowering: Lowering, traced: Traced, steps: int) -> LoweredSignature:
    """Return the file's function: `step` if every layer is stepped, else `serve`.

    Args:
        request: What was asked for.
        lowering: The lowering of the recurrent calls.
        traced: The model's graph.
        steps: Time steps per sequence.
    """
    model, inputs, guard = request.model, request.inputs, request.is_integer
    if lowering.window:
        return _window_signature(request, [choice.lowering for choice in lowering.choices], request.steps or 1)
    events = (request.steps or 1) if request.is_stream else 1 if lowering.is_step else None
    if lowering.is_step:
        step = step_signature(
            model,
            inputs,
            traced.calls,
            request.batch,
            events or 1,
            guard=guard,
            trained=bool(request.trained),
            is_stream=request.is_stream,
            kept=lowering.layer_memories,
        )
        return dataclasses.replace(step, padded=traced.padded)
    lowerings = [choice.lowering for choice in lowering.choices]
    return _sequence_signature(request, lowerings, traced.padded, events, events or steps)


def _reached(results: list[tf.Tensor]) -> set[int]:
    """Return the operations that the results depend on, by id."""
    seen: set[int] = set()
    waiting = [x.op for x in results]
    while waiting:
        operation = waiting.pop()
        if id(operation) not in seen:
            seen.add(id(operation))
            waiting += [x.op for x in operation.inputs] + list(operation.control_inputs)
    return seen


def _sequence_signature(
    request: ExportRequest, lowerings: Sequence[str], padded: dict[str, float], events: int | None, steps: int
) -> LoweredSignature:
    """Return `serve`: the model over `steps` time steps."""
    model, inputs = request.model, request.inputs
    tflm16 = request.precision == "int16x8" and request.target == "micro"
    lowered = LoweredModel(model, guard=request.is_integer, stream=request.is_stream, tflm16=tflm16)
    counted = () if request.is_stream else tuple(padded)
    lengths = {f"{name}_lengths" if len(counted) > 1 else "lengths": name for name in counted}
    over_time: dict[str, bool] = {}

    def serve(**tensors):
        paddings = {id(tensors[of]): Padding(tensors[name], steps) for name, of in lengths.items()}
        layer_memory = (
            StreamMemory(steps) if request.is_stream else None
        )  # nothing to remember, but shapes of the whole
        events_in = inputs.pack([tensors[port.name] for port in inputs.ports])
        run = lowered.run(events_in, lowerings, paddings, layer_memory=layer_memory)
        return _by_name(model, run.results, steps, inputs, over_time)

    specs = {port.name: port.spec(request.batch, steps) for port in inputs.ports}
    specs |= {name: tf.TensorSpec((request.batch,), tf.int32, name=name) for name in lengths}
    traced = tf.function(serve, autograph=False)
    function = traced.get_concrete_function(**specs)
    roles = dict.fromkeys((port.name for port in inputs.ports), "event") | dict.fromkeys(lengths, "lengths")
    outputs = dict.fromkeys(over_time, "prediction")
    return LoweredSignature("serve", traced, function, roles, outputs, dict(over_time), events, lengths, padded)


def step_signature(
    model: keras.Model,
    inputs: Inputs,
    calls: list[LoopCall],
    batch: int,
    events: int,
    *,
    guard: bool,
    trained: bool = False,
    is_stream: bool = False,
    kept: Sequence[tuple[str, tuple[int, ...]]] = (),
) -> LoweredSignature:
    """Return `step`: events and every layer's memory in, predictions and the memory after them out.

    Args:
        model: The model.
        inputs: Its inputs.
        calls: Its recurrent calls.
        batch: Sequences per call.
        events: Time steps per call.
        guard: Guard joins of tensors, for integer quantization.
        trained: The model was trained in integers.
        is_stream: Convolutions and pooling remember.
        kept: What convolutions and pooling remember in a stream: pairs (layer, shape for a batch of 1).
    """
    lowered = LoweredModel(model, guard=guard, trained=trained, stream=True)
    states: list[list[dict[str, Any]]] = []
    layers = [call.layer for call in calls if not call.local]
    number = 0
    for layer in layers:
        states.append([])
        for cell in cells_of(layer):
            number += 1
            sizes = tf.nest.flatten(cell.state_size)
            for place, size in enumerate(sizes):
                kind = ("stm", "ltm")[place] if len(sizes) == 2 else "state"
                name = f"{kind}_{number}" if len(sizes) < 3 else f"{kind}_{number}_{place}"
                shape, memory = [batch, size], {"layer": layer.name, "kind": kind, "input": name}
                states[-1].append(memory | {"output": f"{name}_next", "shape": shape})
    others: list[dict[str, Any]] = [
        {
            "layer": layer,
            "kind": "state",
            "input": f"window_{n}",
            "output": f"window_{n}_next",
            "shape": [batch, *shape[1:]],
        }
        for n, (layer, shape) in enumerate(kept, 1)
    ]
    flat = [state for each in states for state in each] + others
    over_time: dict[str, bool] = {}
    warmups: list[int] = []

    def step(**tensors):
        memories = [
            tf.nest.pack_sequence_as(layer.state_size, [tensors[state["input"]] for state in each])
            for layer, each in zip(layers, states)
        ]
        layer_memory = StreamMemory(events, [tensors[s["input"]] for s in others], guard) if is_stream else None
        events_in = inputs.pack([tensors[port.name] for port in inputs.ports])
        run = lowered.run(events_in, "step", memories=memories, layer_memory=layer_memory)
        warmups.append(layer_memory.warmup if layer_memory else 0)
        results = _by_name(model, run.results, events, inputs, over_time, warmups[-1])
        after = [x for memory in run.memories for x in tf.nest.flatten(memory)]
        after += layer_memory.after if layer_memory else []
        return results | {state["output"]: tf.identity(x) for state, x in zip(flat, after)}

    specs = {port.name: port.spec(batch, events) for port in inputs.ports}
    specs |= {state["input"]: tf.TensorSpec(state["shape"], tf.float32, name=state["input"]) for state in flat}
    traced = tf.function(step, autograph=False)
    function = traced.get_concrete_function(**specs)
    roles = dict.fromkeys((port.name for port in inputs.ports), "event") | {s["input"]: s["kind"] for s in flat}
    outputs = dict.fromkeys(over_time, "prediction") | {s["output"]: s["kind"] for s in flat}
    timed, warmup = dict(over_time), warmups[-1]
    return LoweredSignature("step", traced, function, roles, outputs, timed, events, states=flat, warmup=warmup)


def _window_signature(request: ExportRequest, lowerings: Sequence[str], events: int) -> LoweredSignature:
    """Return `step` of a sliding window: the events before these are memory, and the model runs over all of them."""
    model, inputs, steps = request.model, request.inputs, request.inputs.steps or 1
    lowered = LoweredModel(model, guard=request.is_integer, stream=True)
    timed = [port for port in inputs.ports if port.time]
    states: dict[str, dict[str, Any]] = {
        port.name: {
            "layer": port.name,
            "kind": "state",
            "input": f"window_{n}",
            "output": f"window_{n}_next",
            "shape": [request.batch, steps - events, *port.shape[1:]],
        }
        for n, port in enumerate(timed, 1)
    }
    over_time: dict[str, bool] = {}

    def step(**tensors):
        whole = {name: tf.concat([tensors[state["input"]], tensors[name]], 1) for name, state in states.items()}
        run = lowered.run(inputs.pack([{**tensors, **whole}[port.name] for port in inputs.ports]), lowerings)
        results = _by_name(model, run.results, steps, inputs, over_time)
        return results | {state["output"]: whole[name][:, events:] for name, state in states.items()}

    specs = {port.name: port.spec(request.batch, events) for port in inputs.ports}
    specs |= {s["input"]: tf.TensorSpec(s["shape"], tf.float32, name=s["input"]) for s in states.values()}
    traced = tf.function(step, autograph=False)
    function = traced.get_concrete_function(**specs)
    roles = dict.fromkeys((port.name for port in inputs.ports), "event") | {
        s["input"]: "state" for s in states.values()
    }
    outputs = dict.fromkeys(over_time, "prediction") | {s["output"]: "state" for s in states.values()}
    return LoweredSignature(
        "step", traced, function, roles, outputs, dict(over_time), events, states=list(states.values())
    )


def initial_state_signature(step: LoweredSignature) -> LoweredSignature:
    """Return `initial_state`: nothing in, the zero memories that `step` starts from out."""

    def initial_state():
        return {state["input"]: tf.zeros(state["shape"]) for state in step.states}

    traced = tf.function(initial_state, autograph=False)
    outputs = {state["input"]: state["kind"] for state in step.states}
    return LoweredSignature("initial_state", traced, traced.get_concrete_function(), {}, outputs, {})


def _by_name(
    model: keras.Model,
    results: list[tf.Tensor],
    steps: int,
    inputs: Inputs,
    over_time: dict[str, bool],
    warmup: int = 0,
) -> dict[str, tf.Tensor]:
    """Return the results by name, and note in `over_time` which of them have a time axis, while the graph is traced."""
    names = output_names(model, len(results))
    specs = tf.nest.flatten(getattr(model, "outputs", None) or [])
    stride = stride_of(model)  # of convolutions and pooling, so that an output may have fewer time steps than the input
    fixed = {inputs.steps, inputs.steps // stride - warmup} if inputs.steps else set()
    for number, (name, x) in enumerate(zip(names, results)):
        spec = specs[number].shape if len(specs) == len(results) else None
        open_time = spec is not None and len(spec) > 1 and (spec[1] is None or spec[1] in fixed)
        timed = len(x.shape) > 2 and x.shape[1] in (steps, steps / stride)
        over_time[name] = bool(inputs.timed and timed and (spec is None or open_time))
    return {name: tf.identity(x) for name, x in zip(names, results)}


def save(model: keras.Model, signature: LoweredSignature, folder: str) -> None:
    """Write the signature as a SavedModel for the converter.

    The values of the variables are tracked, not Keras' variables: the converter would not read those, and the file would
    return NaN.
    """
    module = tf.Module()
    module.values = [variable.value for variable in model.variables]
    module.others = list(signature.function.graph.variables)
    module.function = signature.function
    tf.saved_model.save(module, folder, signatures={signature.key: signature.function})


def zero_memories(signature: LoweredSignature) -> dict[str, np.ndarray]:
    """Return zero memories, by the name of their input."""
    return {state["input"]: np.zeros(state["shape"], np.float32) for state in signature.states}
