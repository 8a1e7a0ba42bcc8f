"""Hooks between a model and its recurrent layers: the function that runs a layer's sequence is replaced during a `with` block.

`RNN.inner_loop` is the one place where Keras has events, mask and initial states exactly as the layer gets them, also in
nested models, in `Bidirectional` and where a layer is shared. Nothing of the model is rebuilt.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import keras
from keras import ops

from keras_gates._compat import flatten_layers
from keras_gates._patch import patched
from keras_gates.conversion.keras_lstm import from_keras, is_keras_lstm, is_keras_lstm_cell
from keras_gates.layers.cell import GateLSTMCell

STEP_INPUTS = ("event", "stm", "ltm")

# `(recurrent, events, states, mask, training)` -> `(last output, all outputs, last states)`, as `RNN.inner_loop` returns them
Loop = Callable[..., tuple[Any, Any, Any]]


@dataclass
class Recurrent:
    """One recurrent layer of a model.

    Attributes:
        name: The layer's name; two layers of the same name are told apart by a number.
        layer: The layer itself.
        direction: "forward" or "backward".
        pair: The name of the `Bidirectional` it belongs to, or its own name.
        cells: Name -> cell, more than one in `StackedRNNCells`. Keras' LSTM cells are converted to cells with named gates.
    """

    name: str
    layer: keras.layers.RNN
    direction: str
    pair: str
    cells: dict[str, Any] = field(default_factory=dict)

    @property
    def gated(self) -> bool:
        """Whether all its cells have named gates."""
        return all(isinstance(cell, GateLSTMCell) for cell in self.cells.values())


def named_recurrent_layers(model: keras.layers.Layer) -> list[Recurrent]:
    """Return the recurrent layers of a model or layer under unique names.

    Args:
        model: A model or a single layer, built or not.

    Returns:
        Every `keras.layers.RNN` at any depth, once each, in the order in which Keras holds them.
    """
    every = list({id(layer): layer for layer in flatten_layers(model)}.values())
    pairs: dict[int, str] = {}
    for layer in every:
        if isinstance(layer, keras.layers.Bidirectional):
            pairs |= {id(layer.forward_layer): layer.name, id(layer.backward_layer): layer.name}
    layers: dict[str, Recurrent] = {}
    for layer in every:
        if not isinstance(layer, keras.layers.RNN):
            continue
        name, number = layer.name, 2
        while name in layers:
            name, number = f"{layer.name}_{number}", number + 1
        direction = "backward" if layer.go_backwards else "forward"
        layers[name] = Recurrent(name, layer, direction, pairs.get(id(layer), name), _named_cells(name, layer))
    return list(layers.values())


def _named_cells(name: str, layer: keras.layers.RNN) -> dict[str, Any]:
    cells = layer.cell.cells if isinstance(layer.cell, keras.layers.StackedRNNCells) else [layer.cell]
    if is_keras_lstm(layer):
        cells = [from_keras(layer).cell] if layer.built else cells
    cells = [from_keras(cell) if is_keras_lstm_cell(cell) and cell.built else cell for cell in cells]
    return {name: cells[0]} if len(cells) == 1 else {f"{name}/{k}": cell for k, cell in enumerate(cells)}


_LOCKS: WeakKeyDictionary[keras.layers.RNN, Any] = WeakKeyDictionary()


@contextmanager
def _locked(layers: Sequence[Recurrent]) -> Iterator[None]:
    """Hold the lock of every layer, so that two threads never replace the loop of one layer at the same time."""
    with ExitStack() as stack:
        for layer in sorted((one.layer for one in layers), key=id):  # one order in all threads: no deadlock
            stack.enter_context(_LOCKS.setdefault(layer, threading.RLock()))
        yield


@contextmanager
def replaced_loops(layers: Sequence[Recurrent], run: Loop, restore_states: bool = True) -> Iterator[None]:
    """Run `run` in the place of each layer's `inner_loop` during the block, in the thread that entered it.

    Other threads that call the model meanwhile get the original loops; a second thread that wants to replace them waits.

    Args:
        layers: The layers whose loops are replaced.
        run: Called with `(recurrent, events, states, mask, training)`; returns what `inner_loop` returns: the last output
            `(batch, units)`, all outputs `(batch, time, units)`, and the last states.
        restore_states: Afterwards, give `stateful` layers the states that they had before.
    """
    with _locked(layers):
        owner = threading.get_ident()

        def loop_of(recurrent: Recurrent) -> Callable[..., tuple]:
            outer = recurrent.layer.inner_loop

            def inner_loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> tuple:
                mask = mask[0] if isinstance(mask, list | tuple) else mask
                if threading.get_ident() != owner:
                    return outer(sequences, initial_state, mask, training)
                if len(sequences.shape) != 3:  # events that are not vectors (ConvLSTM): nothing here reads them
                    return original_loop(recurrent, sequences, initial_state, mask, training)
                return run(recurrent, sequences, initial_state, mask, training)

            return inner_loop

        before = [_states(one.layer) if restore_states and one.layer.stateful else None for one in layers]
        try:
            with patched([(one.layer, "inner_loop", loop_of(one)) for one in layers]):
                yield
        finally:
            for recurrent, states in zip(layers, before):
                if states is not None:
                    keras.tree.map_structure(lambda state, value: state.assign(value), recurrent.layer.states, states)


def _states(layer: keras.layers.RNN) -> Any:
    return keras.tree.map_structure(ops.convert_to_numpy, layer.states)


def original_loop(recurrent: Recurrent, events: Any, states: Any, mask: Any, training: bool = False) -> tuple:
    """Run the layer's own loop; a `run` for `replaced_loops`, which describes arguments and result."""
    return type(recurrent.layer).inner_loop(recurrent.layer, events, states, mask, training)


def uncompiled_loop(recurrent: Recurrent, events: Any, states: Any, mask: Any, training: bool = False) -> tuple:
    """Run the layer's own loop, but the portable one where it would first be compiled, which takes seconds for one run."""
    layer = recurrent.layer
    if not hasattr(layer, "loop") or layer.explain(*events.shape[:2], mask is not None, training).name != "compiled":
        return original_loop(recurrent, events, states, mask, training)
    with patched([(layer, "loop", "portable")]):
        return original_loop(recurrent, events, states, mask, training)


@contextmanager
def empty_states(layers: Sequence[Recurrent]) -> Iterator[None]:
    """Start `stateful` layers from zeros during the block; afterwards they have the states that they had before."""
    with replaced_loops(layers, original_loop):
        for recurrent in layers:
            if recurrent.layer.stateful:
                recurrent.layer.reset_state()
        yield


class NamedStep:
    """One step of a layer's cells whose output is everything that was asked for by name. `keras.layers.RNN` takes it as a cell.

    Args:
        recurrent: The layer whose cells take the step.
        wanted: Whether a name of `GateLSTMCell.step` belongs to the output (other cells have `"used"` alone). STM always does.
        held: Factors or results that are held at a value, by name: a function of what the gate computed.
        ltm_columns: How many columns at the end of each event are added to LTM_t (to take gradients with respect to it).

    Attributes:
        names: After a step, the names in the output, by cell, in the order of the columns.
    """

    def __init__(
        self,
        recurrent: Recurrent,
        wanted: Callable[[str], bool],
        held: Mapping[str, Callable] | None = None,
        ltm_columns: int = 0,
    ) -> None:
        self.cells, self.wanted = recurrent.cells, wanted
        self.names: dict[str, list[str]] = {}
        self.state_size = recurrent.layer.cell.state_size
        self.held, self.ltm_columns = dict(held or {}), ltm_columns

    def call(self, event: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """Take one step.

        Args:
            event: `(batch, features + ltm_columns + 1)`; the last column is 0 where the event is skipped.
            states: the cell's states, or a list of them for each cell.

        Returns:
            Everything that was asked for in one tensor `(batch, columns)`, and the new states.
        """
        event, read, held = event[:, :-1], event[:, -1:] > 0, dict(self.held)
        if self.ltm_columns:
            event, added = event[:, : -self.ltm_columns], event[:, -self.ltm_columns :]
            held["remembered"] = lambda value: value + added
        single = len(self.cells) == 1
        outputs, new_states = [], []
        for (name, cell), state in zip(self.cells.items(), [states] if single else states):
            before = list(keras.tree.flatten(state))
            step, after = self._step(cell, event, before, held)
            after = [ops.where(read, new, old) for new, old in zip(after, before)]
            step["used"] = ops.where(read, step["used"], before[0])
            self.names[name] = [n for n in step if n == "used" or (n not in STEP_INPUTS and self.wanted(n))]
            outputs += [step[n] for n in self.names[name]]
            new_states.append(after)
            event = step["used"]
        return ops.concatenate(outputs, axis=-1), new_states[0] if single else new_states

    __call__ = call

    @staticmethod
    def _step(cell: Any, event: Any, state: list[Any], held: dict[str, Callable]) -> tuple[Any, list[Any]]:
        if isinstance(cell, GateLSTMCell):
            stm, ltm = state
            step = cell.step(event, stm, ltm, held=held)
            return step, [step["used"], step["remembered"]]
        used, new_state = cell(event, state)
        return {"used": used}, list(new_state) if isinstance(new_state, list | tuple) else [new_state]


def run_steps(step: NamedStep, layer: keras.layers.RNN, events: Any, states: Any, mask: Any) -> tuple[Any, Any]:
    """Run a layer's sequence by `step`.

    Args:
        step: The step to take for each event.
        layer: The layer, for the direction and `unroll`.
        events: `(batch, time, features + step.ltm_columns)`.
        states: The states before the first event.
        mask: `(batch, time)`, False where an event is skipped; or None.

    Returns:
        All outputs of the step, `(batch, time, columns)`, and the last states.
    """
    # The mask is a column of the events, because not every backend of keras.layers.RNN masks outputs wider than a state.
    read = ops.ones_like(events[..., :1]) if mask is None else ops.expand_dims(ops.cast(mask, events.dtype), -1)
    runner = keras.layers.RNN(step, return_sequences=True, go_backwards=layer.go_backwards, unroll=layer.unroll)
    _, outputs, states = runner.inner_loop(ops.concatenate([events, read], axis=-1), states, None)
    return outputs, states


def jitted_on_jax(function: Callable) -> Callable:
    """Return `function` under `jax.jit` on JAX, which would otherwise compile each loop in it at every call."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)
