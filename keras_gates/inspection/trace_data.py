"""A trace: the recorded arrays of each recurrent layer by name, for NumPy, xarray or a file."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates._arguments import typed
from keras_gates._errors import InvalidArgument, UnknownName
from keras_gates._files import replace_file

FACTORS = ("ignore", "candidate", "forget", "use", "U")
IN_ORDER = ("ignore", "candidate", "learned", "forget", "kept", "ltm", "U", "use", "stm")
WORDS = {
    "ignore": "ignore factor",
    "candidate": "candidate",
    "learned": "learned",
    "forget": "forget factor",
    "kept": "kept",
    "ltm": "long-term memory",
    "U": "U",
    "use": "use factor",
    "stm": "short-term memory",
}


@typed
class LayerTrace(Mapping):
    """What one recurrent layer did: a mapping from names to arrays, which are also attributes (`layer.forget`).

    | name | array |
    |---|---|
    | `event` | E_t, the input at each time step, `(batch, time, features)` |
    | `ignore`, `candidate`, `learned` | the learn gate's factors and result |
    | `forget`, `kept` | the forget gate's factor and result |
    | `use`, `U` | the use gate's factors |
    | `stm`, `ltm` | STM_t (hidden state) and LTM_t (cell state), after the event |
    | `first_stm`, `first_ltm` | the memories before the first event, `(batch, units)` |
    | `mask` | `(batch, time)`, False where the event was skipped |

    Each is `(batch, time, units)`, float32 (float64 for a float64 layer), unless stated otherwise, in the order of the events,
    for a layer that reads backwards too. Where an event was skipped the factors and results are NaN and the memories are
    those before it. Gates that you wrote add the factors they name; other recurrent layers have `event`, `stm` and `first_stm`.

    Args:
        name: The layer's name.
        direction: "forward" or "backward".
        formulation: "standard", "article", or "" for a layer without named gates.
        arrays: The arrays by name.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4, name="memory")])
    >>> layer = keras_gates.trace(model, numpy.ones((2, 5, 3), "float32"))["memory"]
    >>> layer.forget.shape, layer.still_held(at=3).shape
    ((2, 5, 4), (5, 4))
    """

    def __init__(self, name: str, direction: str, formulation: str, arrays: Mapping[str, np.ndarray]) -> None:
        self.name, self.direction, self.formulation = name, direction, formulation
        self.arrays = dict(arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            raise UnknownName(f"{self.name} has no {name!r}; it has: {', '.join(self.arrays)}")
        return self.arrays[name]

    def __getattr__(self, name: str) -> np.ndarray:
        arrays = self.__dict__.get("arrays", {})
        if name not in arrays:
            raise AttributeError(f"{type(self).__name__} has no {name!r}; it has: {', '.join(arrays)}")
        return arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __repr__(self) -> str:
        batch, time, units = self.stm.shape
        return f"<{self.name}: {batch} sequences, {time} events, {units} units, {self.direction}>"

    def _repr_html_(self) -> str:
        return _table([self])

    @property
    def units(self) -> int:
        """The number of units of STM and LTM."""
        return self.stm.shape[-1]

    @property
    def time(self) -> int:
        """The number of events in the arrays, skipped ones included."""
        return self.stm.shape[1]

    @property
    def over_time(self) -> dict[str, np.ndarray]:
        """The arrays of shape `(batch, time, units)`, in the order of the step."""
        extra = [n for n in self.arrays if n not in (*IN_ORDER, "event", "mask") and self.arrays[n].ndim == 3]
        return {name: self.arrays[name] for name in (*IN_ORDER, *extra) if name in self.arrays}

    def adds_up(self) -> bool:
        """Whether LTM_t = LTM_{t-1} * forget + learned at every event, so that memories can be split by their events."""
        if not {"forget", "learned", "ltm", "first_ltm"} <= set(self.arrays):
            return False
        before = np.concatenate([self.first_ltm[:, None], self.ltm[:, :-1]], axis=1)
        if self.direction == "backward":
            before = np.concatenate([self.ltm[:, 1:], self.first_ltm[:, None]], axis=1)
        tolerance = 1e-4 * (1 + np.abs(np.nan_to_num(self.ltm)).max(initial=0.0))
        error = np.abs(before * self.forget + self.learned - self.ltm)
        return bool(np.all(np.isnan(self.forget) | (error <= tolerance)))

    def end_of(self, example: int = 0) -> int:
        """Return how many events an example has up to the last that was not skipped: where padding begins."""
        read = np.flatnonzero(self.mask[example])
        return int(read[-1]) + 1 if read.size else self.time

    def without_padding(self, example: int = 0) -> LayerTrace:
        """Return the trace up to the last event of an example that was not skipped."""
        return self.until(self.end_of(example))

    def until(self, end: int) -> LayerTrace:
        """Return the trace of the first `end` events."""
        if end == self.time:
            return self
        arrays = {n: a if n.startswith("first_") else a[:, :end] for n, a in self.arrays.items()}
        if self.direction == "backward":  # what is cut off was read before the rest
            arrays |= {f"first_{n}": self.arrays[n][:, end] for n in ("stm", "ltm") if f"first_{n}" in arrays}
        return LayerTrace(self.name, self.direction, self.formulation, arrays)

    def still_held(self, at: int = -1, example: int = 0) -> np.ndarray:
        """Compute what of each event is in the long-term memory (cell state) after event `at`.

            LTM_t = sum over s of learned_s * f_{s+1} * ... * f_t        (and what is left of the first memory)

        Args:
            at: Index of the event, from 0; negative from the last event that was not skipped.
            example: Index of the example.

        Returns:
            `(time, units)`: row s is the share of event s in LTM_at; zeros for events that were skipped or come later.

        Raises:
            ValueError: The layer's LTM is not kept plus learned (zoneout, another remember gate, no named gates).
        """
        if not self.adds_up():
            raise InvalidArgument(
                f"{self.name}: its long-term memory is not the sum of kept and learned, so it cannot be split by events."
            )
        at = range(self.time if at >= 0 else self.end_of(example))[at]
        held = np.zeros((self.time, self.units), self.ltm.dtype)
        left = np.ones(self.units, self.ltm.dtype)
        for s in range(at, self.time) if self.direction == "backward" else range(at, -1, -1):
            if self.mask[example, s]:
                held[s] = self.learned[example, s] * left
                left = left * self.forget[example, s]
        return held


@typed
class Trace(Mapping):
    """A model's recurrent layers by name, each a `LayerTrace`, and the model's prediction.

    The arrays of a model's only recurrent layer are attributes of the trace too: `trace.forget`.

    Args:
        layers: A `LayerTrace` by name.
        prediction: The model's output, or a list of its outputs.

    Attributes:
        layers: A `LayerTrace` by name.
        prediction: The model's output, `(batch, ...)`; a list if it has several; None if it was not recorded.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4, name="memory")])
    >>> trace = keras_gates.trace(model, numpy.ones((2, 5, 3), "float32"))
    >>> keras_gates.Trace.load(trace.save("trace.npz"))["memory"].ltm.shape
    (2, 5, 4)
    """

    def __init__(self, layers: Mapping[str, LayerTrace], prediction: Any = None) -> None:
        self.layers, self.prediction = dict(layers), prediction

    def __getitem__(self, name: str) -> LayerTrace:
        if name not in self.layers:
            raise UnknownName(f"there is no layer {name!r} in this trace; it has: {', '.join(self.layers)}")
        return self.layers[name]

    def __getattr__(self, name: str) -> np.ndarray:
        layers = self.__dict__.get("layers", {})
        if len(layers) == 1:
            return getattr(next(iter(layers.values())), name)
        raise AttributeError(
            f"{type(self).__name__} has no {name!r}; choose a layer first, trace[name].{name}; it has: {', '.join(layers)}"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        return f"<Trace of {', '.join(map(repr, self.layers.values()))}>"

    def _repr_html_(self) -> str:
        return _table(list(self.layers.values()))

    @property
    def first(self) -> LayerTrace:
        """The layer that was called first."""
        return next(iter(self.layers.values()))

    def to_numpy(self) -> dict[str, np.ndarray]:
        """Return all arrays in one dict, named `"layer/array"`."""
        return {f"{layer}/{name}": array for layer, traced in self.items() for name, array in traced.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return what `xarray.Dataset.from_dict` takes: coordinates, dimensions, data variables named `"layer/array"`."""
        variables = {}
        for layer, traced in self.items():
            for name, array in traced.items():
                last = f"features of {layer}" if name == "event" else f"units of {layer}"
                dims = ("batch", last) if name.startswith("first_") else ("batch", f"time of {layer}", last)
                variables[f"{layer}/{name}"] = {"dims": dims[: array.ndim], "data": array, "attrs": {"layer": layer}}
        attrs = {layer: f"{traced.direction} {traced.formulation}".strip() for layer, traced in self.items()}
        return {"coords": {}, "attrs": attrs, "dims": {}, "data_vars": variables}

    def save(self, path: str | Path) -> Path:
        """Write everything to a compressed `.npz`, which `Trace.load` and `numpy.load` read.

        Args:
            path: The file to write or replace. Its folder must exist.

        Returns:
            The path.

        Raises:
            OSError: The file cannot be written; an older one stays as it is.
        """
        path = Path(path)
        about = {n: {"direction": t.direction, "formulation": t.formulation} for n, t in self.items()}
        predictions = self.prediction if isinstance(self.prediction, list) else [self.prediction]
        arrays = {f"prediction/{k}": array for k, array in enumerate(predictions) if array is not None}
        arrays |= {"about": np.array(json.dumps(about)), **self.to_numpy()}
        with replace_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read the trace that `save` wrote.

        Args:
            path: The `.npz` file.

        Returns:
            The trace.

        Raises:
            OSError: The file cannot be read.
            KeyError: It was not written by `save`.
        """
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.pop("about")))
        count = sum(
            _of(name) == "prediction" and name[11:].isdigit() for name in arrays
        )  # a layer may be called prediction
        predictions = [arrays.pop(f"prediction/{k}") for k in range(count)]
        layers = {
            name: LayerTrace(name, **known, arrays={n[len(name) + 1 :]: a for n, a in arrays.items() if _of(n) == name})
            for name, known in about.items()
        }
        return cls(layers, predictions[0] if len(predictions) == 1 else predictions or None)


def _of(name: str) -> str:
    return name.rpartition("/")[0]


def _table(layers: list[LayerTrace]) -> str:
    """Return the layers as an HTML table for notebooks: sizes, the mean of each factor, the largest LTM."""
    head = ("layer", "sequences", "events", "units", "direction", "ignore", "forget", "use", "largest LTM", "arrays")
    rows = []
    for layer in layers:
        means = [f"{layer[n][layer.mask].mean():.2f}" if n in layer else "–" for n in ("ignore", "forget", "use")]
        largest = f"{np.abs(layer.ltm).max(initial=0.0):.2f}" if "ltm" in layer else "–"
        sizes = [str(size) for size in layer.stm.shape]
        rows.append((layer.name, *sizes, layer.direction, *means, largest, ", ".join(layer)))
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{body}</table>"
