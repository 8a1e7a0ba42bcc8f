"""From a Keras model to TensorFlow functions with fixed shapes: what its graph asks for, and the signatures of a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_gates.exporting.lowering.inputs import Inputs, output_names
from keras_gates.exporting.lowering.lower import LoopCall, Preparation, Prepared
from keras_gates.exporting.lowering.masks import Padding
from keras_gates.exporting.lowering.recurrent import cells_of

Sizes = list[list[tuple[int, ...]]]


@dataclass
class Asked:
    """What one look at the graph found out.

    Attributes:
        calls: the recurrent calls in order.
        padded: names of the inputs whose padding the model's result depends on, with the value that is padding.
    """

    calls: list[LoopCall]
    padded: dict[str, float]


@dataclass
class Signature:
    """One function with fixed shapes.

    Attributes:
        key: its name in the file.
        traced: the tf.function, function: its one concrete function.
        inputs, outputs: name → role, in the file's order.
        over_time: prediction → whether its axis 1 is time.
        counts: lengths input → the input whose real steps it counts.
        states: memories: layer, kind, input, output, shape.
    """

    key: str
    traced: Any
    function: Any
    inputs: dict[str, str]
    outputs: dict[str, str]
    over_time: dict[str, bool]
    counts: dict[str, str] = field(default_factory=dict)
    states: list[dict[str, Any]] = field(default_factory=list)


def padding_values(model: keras.Model) -> list[float]:
    """The values that this model's Masking and Embedding layers take for padding."""
    layers = model._flatten_layers()
    masking = [float(layer.mask_value) for layer in layers if isinstance(layer, keras.layers.Masking)]
    return masking + [0.0 for layer in layers if isinstance(layer, keras.layers.Embedding) and layer.mask_zero]


def look(model: keras.Model, inputs: Inputs, batch: int, steps: int | None, right_padded: bool) -> Asked:
    """Trace the model once with plain loops and see what its recurrent layers are given and what is read of them.

    Args:
        right_padded: whether masks of the inputs may be taken for right padding.
    """
    preparation = Preparation(model, "while")
    values = padding_values(model) if right_padded else []
    ports = [port for port in inputs.ports if port.time]
    found: dict[str, Any] = {}

    def trace(**tensors):
        events = [tensors[port.name] for port in inputs.ports]
        paddings = {}
        for port in ports if values else ():
            lengths = tensors[f"{port.name}_lengths"]
            paddings[id(tensors[port.name])] = Padding(lengths, steps)
        found["run"] = preparation.run(inputs.pack(events), paddings)
        found["lengths"] = {port.name: tensors[f"{port.name}_lengths"] for port in ports} if values else {}
        return found["run"].results

    specs = {port.name: port.spec(batch, steps) for port in inputs.ports}
    specs |= {f"{port.name}_lengths": tf.TensorSpec((batch,), tf.int32) for port in ports if values}
    tf.function(trace, autograph=False).get_concrete_function(**specs)
    run: Prepared = found["run"]
    reached = _reached(run.results)
    for call in run.calls:
        call.ltm_read = any(id(x.op) in reached for x in tf.nest.flatten(call.ltm) if tf.is_tensor(x))
        call.ltm = None
    padded = {name: values[0] for name, x in found["lengths"].items() if id(x.op) in reached}
    return Asked(run.calls, padded)


def _reached(results: list[tf.Tensor]) -> set[int]:
    """Operations that the results depend on, by id."""
    seen: set[int] = set()
    waiting = [x.op for x in results]
    while waiting:
        operation = waiting.pop()
        if id(operation) not in seen:
            seen.add(id(operation))
            waiting += [x.op for x in operation.inputs] + list(operation.control_inputs)
    return seen


def sequence_signature(
    model: keras.Model,
    inputs: Inputs,
    forms: list[str],
    batch: int,
    steps: int,
    padded: dict[str, float],
    *,
    guard: bool,
    stream: bool,
) -> Signature:
    """`serve`: the model over `steps` events, recurrent layers in the forms given."""
    preparation = Preparation(model, forms, guard=guard, stream=stream)
    lengths = {} if stream else {f"{name}_lengths" if len(padded) > 1 else "lengths": name for name in padded}
    named: dict[str, bool] = {}

    def serve(**tensors):
        paddings = {id(tensors[of]): Padding(tensors[name], steps) for name, of in lengths.items()}
        run = preparation.run(inputs.pack([tensors[port.name] for port in inputs.ports]), paddings)
        return _by_name(model, run.results, steps, inputs, named)

    specs = {port.name: port.spec(batch, steps) for port in inputs.ports}
    specs |= {name: tf.TensorSpec((batch,), tf.int32, name=name) for name in lengths}
    traced = tf.function(serve, autograph=False)
    function = traced.get_concrete_function(**specs)
    roles = dict.fromkeys((port.name for port in inputs.ports), "event") | dict.fromkeys(lengths, "lengths")
    return Signature("serve", traced, function, roles, dict.fromkeys(named, "prediction"), dict(named), lengths)


def step_signature(
    model: keras.Model, inputs: Inputs, calls: list[LoopCall], batch: int, events: int, *, guard: bool
) -> Signature:
    """`step`: events and every layer's memory in, predictions and the memory after them out."""
    preparation = Preparation(model, "step", guard=guard, stream=True)
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
    flat = [state for each in states for state in each]
    named: dict[str, bool] = {}

    def step(**tensors):
        memories = [
            tf.nest.pack_sequence_as(layer.state_size, [tensors[state["input"]] for state in each])
            for layer, each in zip(layers, states)
        ]
        run = preparation.run(inputs.pack([tensors[port.name] for port in inputs.ports]), memories=memories)
        results = _by_name(model, run.results, events, inputs, named)
        after = [x for memory in run.memories for x in tf.nest.flatten(memory)]
        return results | {state["output"]: tf.identity(x) for state, x in zip(flat, after)}

    specs = {port.name: port.spec(batch, events) for port in inputs.ports}
    specs |= {state["input"]: tf.TensorSpec(state["shape"], tf.float32, name=state["input"]) for state in flat}
    traced = tf.function(step, autograph=False)
    function = traced.get_concrete_function(**specs)
    roles = dict.fromkeys((port.name for port in inputs.ports), "event") | {s["input"]: s["kind"] for s in flat}
    outputs = dict.fromkeys(named, "prediction") | {s["output"]: s["kind"] for s in flat}
    return Signature("step", traced, function, roles, outputs, dict(named), {}, flat)


def initial_state_signature(step: Signature) -> Signature:
    """`initial_state`: nothing in, the empty memories that `step` begins with out."""

    def initial_state():
        return {state["input"]: tf.zeros(state["shape"]) for state in step.states}

    traced = tf.function(initial_state, autograph=False)
    outputs = {state["input"]: state["kind"] for state in step.states}
    return Signature("initial_state", traced, traced.get_concrete_function(), {}, outputs, {})


def _by_name(
    model: keras.Model, results: list[tf.Tensor], steps: int, inputs: Inputs, named: dict[str, bool]
) -> dict[str, tf.Tensor]:
    names = output_names(model, len(results))
    specs = tf.nest.flatten(getattr(model, "outputs", None) or [])
    for number, (name, x) in enumerate(zip(names, results)):
        spec = specs[number].shape if len(specs) == len(results) else None
        open_time = spec is not None and len(spec) > 1 and spec[1] in (None, inputs.steps)
        named[name] = bool(inputs.timed and len(x.shape) > 2 and x.shape[1] == steps and (spec is None or open_time))
    return {name: tf.identity(x) for name, x in zip(names, results)}


def save(model: keras.Model, signature: Signature, folder: str) -> None:
    """Write the signature as a SavedModel for the converter.

    The variables' values are tracked, not Keras' variables: otherwise they arrive unread and the file answers NaN.
    """
    module = tf.Module()
    module.values = [variable.value for variable in model.variables]
    module.others = list(signature.function.graph.variables)
    module.function = signature.function
    tf.saved_model.save(module, folder, signatures={signature.key: signature.function})


def zero_memories(signature: Signature) -> dict[str, np.ndarray]:
    """Empty memories, by the name of their input."""
    return {state["input"]: np.zeros(state["shape"], np.float32) for state in signature.states}
