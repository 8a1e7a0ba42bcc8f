"""Standing between a model and its recurrent layers: what runs a layer's sequence is exchanged while a block lasts.

`RNN.inner_loop` is the one place where Keras has events, mask and first memories exactly as they come, also in nested
models, in `Bidirectional` and where a layer is shared. Nothing of the model is rebuilt, and what was exchanged is put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.conversion.keras_lstm import from_keras
from keras_gates.layers.cell import GateLSTMCell

GIVEN = ("event", "stm", "ltm")


@dataclass
class Recurrent:
    """One recurrent layer of a model.

    Attributes:
        name: of the layer; two layers of one name are told apart by a number.
        layer: the layer itself.
        direction: "forward" or "backward".
        pair: the name of the `Bidirectional` it belongs to, or its own.
        cells: name -> cell, more than one in `StackedRNNCells`; Keras' LSTM cells stand here with their gates named.
    """

    name: str
    layer: keras.layers.RNN
    direction: str
    pair: str
    cells: dict[str, Any] = field(default_factory=dict)

    @property
    def gated(self) -> bool:
        """Whether it has gates with names."""
        return all(isinstance(cell, GateLSTMCell) for cell in self.cells.values())


def recurrent_layers(model: keras.layers.Layer) -> list[Recurrent]:
    """The recurrent layers of a model or layer, nested ones too, each once, in the order in which Keras holds them."""
    layers = list({id(layer): layer for layer in model._flatten_layers()}.values())
    pairs = {}
    for layer in layers:
        if isinstance(layer, keras.layers.Bidirectional):
            pairs |= {id(layer.forward_layer): layer.name, id(layer.backward_layer): layer.name}
    found: dict[str, Recurrent] = {}
    for layer in layers:
        if not isinstance(layer, keras.layers.RNN):
            continue
        name, number = layer.name, 2
        while name in found:
            name, number = f"{layer.name}_{number}", number + 1
        direction = "backward" if layer.go_backwards else "forward"
        found[name] = Recurrent(name, layer, direction, pairs.get(id(layer), name), _named_cells(name, layer))
    return list(found.values())


def _named_cells(name: str, layer: keras.layers.RNN) -> dict[str, Any]:
    cells = layer.cell.cells if isinstance(layer.cell, keras.layers.StackedRNNCells) else [layer.cell]
    if type(layer) is keras.layers.LSTM:
        cells = [from_keras(layer).cell] if layer.built else cells
    cells = [from_keras(cell) if type(cell) is keras.layers.LSTMCell and cell.built else cell for cell in cells]
    return {name: cells[0]} if len(cells) == 1 else {f"{name}/{k}": cell for k, cell in enumerate(cells)}


@contextmanager
def exchanged_loops(found: list[Recurrent], run: Callable[..., tuple], put_back: bool = True) -> Iterator[None]:
    """While the block lasts, `run(recurrent, events, memories, mask, training)` stands for each layer's `inner_loop`.

    `run` answers as `inner_loop` does: last output, all outputs, last memories. With `put_back`, `stateful` layers get
    the memories back that they had before.
    """
    before = [
        keras.tree.map_structure(ops.convert_to_numpy, one.layer.states) if put_back and one.layer.stateful else None
        for one in found
    ]

    def loop_of(recurrent: Recurrent) -> Callable[..., tuple]:
        def inner_loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> tuple:
            mask = mask[0] if isinstance(mask, list | tuple) else mask
            if len(sequences.shape) != 3:
                return as_it_is(recurrent, sequences, initial_state, mask, training)
            return run(recurrent, sequences, initial_state, mask, training)

        return inner_loop

    outer = [vars(one.layer).get("inner_loop") for one in found]
    try:
        for recurrent in found:
            object.__setattr__(recurrent.layer, "inner_loop", loop_of(recurrent))
        yield
    finally:
        for recurrent, states, loop in zip(found, before, outer):
            vars(recurrent.layer).pop("inner_loop")
            if loop is not None:
                object.__setattr__(recurrent.layer, "inner_loop", loop)
            if states is not None:
                keras.tree.map_structure(lambda state, value: state.assign(value), recurrent.layer.states, states)


def as_it_is(recurrent: Recurrent, events: Any, memories: Any, mask: Any, training: bool = False) -> tuple:
    """The layer's own loop, for `exchanged_loops`."""
    return type(recurrent.layer).inner_loop(recurrent.layer, events, memories, mask, training)


def uncompiled(recurrent: Recurrent, events: Any, memories: Any, mask: Any, training: bool = False) -> tuple:
    """As `as_it_is`, but a loop that would first be compiled (seconds, for one run) gives way to the portable one."""
    layer = recurrent.layer
    loop = getattr(layer, "loop", None)
    if loop is None or layer.explain(*events.shape[:2], mask is not None, training).name != "compiled":
        return as_it_is(recurrent, events, memories, mask, training)
    layer.loop = "portable"
    try:
        return as_it_is(recurrent, events, memories, mask, training)
    finally:
        layer.loop = loop


@contextmanager
def empty_memories(found: list[Recurrent]) -> Iterator[None]:
    """While the block lasts, `stateful` layers start from empty memories; afterwards they have those from before."""
    with exchanged_loops(found, as_it_is):
        for recurrent in found:
            if recurrent.layer.stateful:
                recurrent.layer.reset_state()
        yield


class NamedStep:
    """What `keras.layers.RNN` calls a cell: a step of one or more cells that answers with all that was asked for by name.

    Args:
        recurrent: the layer whose cells take the step.
        wanted: which names of `GateLSTMCell.step` to answer with (other cells have `"used"` alone); STM is always there.
        held: factors or results held at a value, by name -> function of what the gate computed.
        nudged: how many columns at the end of an event are added to LTM_t (for gradients with respect to it).

    Attributes:
        names: after a step, what it answered with, by cell, in the order of the columns.
    """

    def __init__(
        self,
        recurrent: Recurrent,
        wanted: Callable[[str], bool],
        held: dict[str, Callable] | None = None,
        nudged: int = 0,
    ) -> None:
        self.cells, self.wanted = recurrent.cells, wanted
        self.names: dict[str, list[str]] = {}
        self.state_size = recurrent.layer.cell.state_size
        self.held, self.nudged = held or {}, nudged

    def call(self, event: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """`(all that was asked for side by side, memories)`; the last column of an event says whether it is skipped."""
        event, seen, held = event[:, :-1], event[:, -1:] > 0, dict(self.held)
        if self.nudged:
            event, nudge = event[:, : -self.nudged], event[:, -self.nudged :]
            held["remembered"] = lambda value: value + nudge
        one = len(self.cells) == 1
        answers, memories = [], []
        for (name, cell), memory in zip(self.cells.items(), [states] if one else states):
            before = list(keras.tree.flatten(memory))
            step, after = self._step(cell, event, before, held)
            after = [ops.where(seen, new, old) for new, old in zip(after, before)]
            step["used"] = ops.where(seen, step["used"], before[0])
            self.names[name] = [n for n in step if n == "used" or (n not in GIVEN and self.wanted(n))]
            answers += [step[n] for n in self.names[name]]
            memories.append(after)
            event = step["used"]
        return ops.concatenate(answers, axis=-1), memories[0] if one else memories

    __call__ = call

    @staticmethod
    def _step(cell: Any, event: Any, memory: list[Any], held: dict[str, Callable]) -> tuple[Any, list[Any]]:
        if isinstance(cell, GateLSTMCell):
            step = cell.step(event, *memory, held=held)
            return step, [step["used"], step["remembered"]]
        used, memory = cell(event, memory)
        memory = list(memory) if isinstance(memory, list | tuple) else [memory]
        return {"used": used}, memory


def run_steps(step: NamedStep, layer: keras.layers.RNN, events: Any, memories: Any, mask: Any) -> tuple[Any, Any]:
    """`(outputs, memories)` of the layer's sequence run by `step`; every column of `step` in the outputs.

    The mask travels as a column of the events, since not every backend of `keras.layers.RNN` masks outputs wider than a state.
    """
    if mask is None:
        seen = ops.ones_like(events[..., :1])
    else:
        seen = ops.expand_dims(ops.cast(mask, events.dtype), -1)
    runner = keras.layers.RNN(step, return_sequences=True, go_backwards=layer.go_backwards, unroll=layer.unroll)
    _, outputs, memories = runner.inner_loop(ops.concatenate([events, seen], axis=-1), memories, None)
    return outputs, memories


def compiled_on_jax(function: Callable) -> Callable:
    """`function`, compiled once on JAX, which outside of a compiled function compiles every loop anew that it meets."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def to_numpy(tensor: Any) -> np.ndarray:
    """A tensor as NumPy, half precisions as float32."""
    if "float16" in keras.backend.standardize_dtype(tensor.dtype):
        tensor = ops.cast(tensor, "float32")
    return np.asarray(ops.convert_to_numpy(tensor))
