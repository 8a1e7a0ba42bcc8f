"""The difference between the outputs of a file and those of Keras, output by output, and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from keras_gates import _compat
from keras_gates.exporting.lowering.lower import LoweredModel
from keras_gates.exporting.model_inputs import Inputs, Sample


@dataclass(frozen=True)
class Limits:
    """What one precision may do to an output.

    Attributes:
        usual: mean difference that rounding explains, as a share of the output's spread. Beyond it the report warns.
        wrong: mean difference beyond which the file is withheld, as a share of the spread.
        floor: part of the output's largest value that rounding can change whatever the spread: an output that hardly
            varies is no wrong file.
        answers: share of clear answers (`OutputDifference.changed`) that may change.
        step: the same as `floor` for the output's variation around its mean, in which the rounding of its constant part
            does not count.
    """

    usual: float
    wrong: float
    floor: float
    answers: float
    step: float


# Found with `python benchmarks/export.py verification`. The largest difference has no limit: in integers an output beyond the
# calibrated range is clipped, and one among thousands is no defect.
LIMITS = {
    "float32": Limits(1e-5, 1e-3, 1e-5, 0.02, 1e-5),
    "float16": Limits(5e-3, 2e-2, 5e-4, 0.05, 1e-4),
    "dynamic": Limits(3e-2, 1e-1, 3e-3, 0.1, 1e-3),
    "int8": Limits(1.2e-1, 3.5e-1, 1e-2, 0.2, 5e-3),
    "int16x8": Limits(5e-2, 1.5e-1, 3e-3, 0.2, 3e-4),
}
HIGH = 0.99
VARIATION = 0.6  # share of the spread by which the variation may differ: with twice its scale it differs by all of it
_HIDDEN = 20.0  # largest value over spread from which on the steps of 8 bits are as large as the spread


@dataclass(frozen=True)
class Column:
    """One column of an output, for example one quantile of one series.

    Attributes:
        place: its indices on the output's axes after batch and time.
        mean: mean absolute difference.
        spread: mean distance of Keras' values from their mean.
        largest: largest absolute value of Keras.
        wrong: the mean difference beyond which the file is withheld.
    """

    place: tuple[int, ...]
    mean: float
    spread: float
    largest: float
    wrong: float

    def __str__(self) -> str:
        place = ", ".join(map(str, self.place))
        allowed = f"(allowed {self.wrong:.3g})"
        return f"column [{place}]: mean difference {self.mean:.3g} {allowed}, where it spreads by {self.spread:.3g}"


@dataclass(frozen=True)
class OutputDifference:
    """One output of the file against Keras, over all samples, time steps and columns.

    Attributes:
        name: name of the output in the file.
        spread: mean distance of Keras' values from their column's mean.
        largest, high, mean: absolute difference: the maximum, the 99th percentile and the mean.
        usual, wrong: the mean differences beyond which the report warns, and the file is withheld.
        agreement: share of samples (time steps) with the same largest column; None if there is one column.
        changed: share of samples with another largest column although Keras' own two values are more than half the spread
            of such margins apart: rounding changes answers that are nearly ties, a wrong file others too.
        answers: the `changed` beyond which the file is withheld.
        variation: mean difference after each column's mean is subtracted from the file's and Keras' values: what shows that
            an output that hardly varies does not vary as Keras' does.
        other: the `variation` beyond which the file is withheld.
        column: the column, of all axes except batch and time, that uses most of what is allowed, with its mean difference, its
            spread and the mean difference beyond which the file is withheld.
        hidden: the column whose spread is small against its values and lost in the file, with its largest value; None if there
            is none.
    """

    name: str
    spread: float
    largest: float
    high: float
    mean: float
    usual: float
    wrong: float
    agreement: float | None
    changed: float
    answers: float
    variation: float
    other: float
    column: Column
    hidden: Column | None = None

    @property
    def acceptable(self) -> bool:
        """Whether the output is Keras', as far as the precision can tell."""
        near = self.mean <= self.wrong and self.high <= 8 * self.wrong
        alike = self.changed <= self.answers and self.variation <= self.other
        return bool(near and alike and self.column.mean <= self.column.wrong)

    @property
    def is_usual(self) -> bool:
        """Whether rounding explains the difference."""
        return bool(self.mean <= self.usual)

    def __str__(self) -> str:
        answers = "" if self.agreement is None else f", same answer {100 * self.agreement:.1f} %"
        return (
            f"{self.name}: mean difference {self.mean:.3g}, 99 % below {self.high:.3g}, largest {self.largest:.3g}, where the "
            f"output spreads by {self.spread:.3g}{answers}"
            + (f"; {self.column}" if self.column.mean > self.column.wrong else "")
        )


@dataclass(frozen=True)
class Difference:
    """File against Keras.

    Attributes:
        outputs: one entry per output, in the file's order.
        samples: number of samples compared.
    """

    outputs: tuple[OutputDifference, ...]
    samples: int

    @property
    def worst(self) -> OutputDifference:
        """The output that uses most of what is allowed."""
        return max(
            self.outputs,
            key=lambda each: max(
                each.mean / each.wrong,
                each.high / (8 * each.wrong),
                np.nan_to_num(each.variation / each.other),
                each.column.mean / each.column.wrong,
            ),
        )

    @property
    def agreement(self) -> float | None:
        """Mean agreement of the outputs with several columns; None without any."""
        shares = [each.agreement for each in self.outputs if each.agreement is not None]
        return float(np.mean(shares)) if shares else None

    @property
    def acceptable(self) -> bool:
        """Whether every output is."""
        return all(each.acceptable for each in self.outputs)


def keras_outputs(model: keras.Model, inputs: Inputs, samples: list[Sample]) -> list[list[np.ndarray]]:
    """Return the model's outputs, one flat list of arrays with a batch axis of 1 per sample."""
    batch = model.inputs[0].shape[0] if getattr(model, "inputs", None) else None
    alike = len({tuple(x.shape for x in sample) for sample in samples}) == 1
    if batch is not None or not alike:
        outputs = []
        for sample in samples:
            if batch is not None:
                _reset(model)
            rows = [np.repeat(array, batch or 1, axis=0) for array in sample]
            flat = tree.flatten(model(inputs.pack(rows), training=False))
            outputs.append([_array(x)[:1] for x in flat])
        return outputs
    together = [np.concatenate(arrays) for arrays in zip(*samples)]
    flat = [_array(x) for x in tree.flatten(model(inputs.pack(together), training=False))]
    return [[x[i : i + 1] for x in flat] for i in range(len(samples))]


def _reset(model: keras.Model) -> None:
    for layer in _compat.flatten_layers(model):
        if isinstance(layer, keras.layers.RNN) and layer.stateful and layer.states is not None:
            # Not `reset_state`, which fails on the nested states of stacked cells.
            tree.map_structure(lambda state: state.assign(keras.ops.zeros_like(state)), layer.states)


def _array(x: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(x)).astype(np.float32)


def rounding_of(
    model: keras.Model, inputs: Inputs, samples: list[Sample], wanted: list[list[np.ndarray]]
) -> list[float]:
    """Return per output the mean difference that float32 rounding alone makes in Keras.

    Two ways of computing the same: another of Keras' loops, and inputs that differ in their last bit. A file in float32 cannot
    be nearer to Keras than Keras to itself.

    Args:
        model: The model.
        inputs: Its inputs.
        samples: Inputs, of one shape.
        wanted: The model's outputs for them.
    """
    sign = np.random.default_rng(0)
    near = [
        [
            np.nextafter(x, np.where(sign.integers(2, size=x.shape), np.inf, -np.inf).astype(x.dtype))
            if x.dtype == np.float32
            else x
            for x in sample
        ]
        for sample in samples
    ]
    others = [keras_outputs(model, inputs, near)]
    lowered = LoweredModel(model)
    loops = []
    for sample in samples[:8]:
        run = lowered.run(inputs.pack([tf.convert_to_tensor(x) for x in sample]), "while")
        loops.append([_array(x) for x in run.results])
    others.append(loops)
    most = [0.0] * len(wanted[0])
    for other in others:
        for place in range(len(most)):
            apart = np.mean([np.abs(w[place] - o[place]).mean() for w, o in zip(wanted, other)])
            most[place] = max(most[place], float(np.nan_to_num(apart)))
    return most


def compare(
    wanted: list[list[np.ndarray]],
    got: list[list[np.ndarray]],
    precision: str,
    names: Sequence[str] = (),
    rounding: Sequence[float] = (),
) -> Difference:
    """Return the difference of every output.

    Args:
        wanted, got: Per sample one array per output.
        precision: Which limits apply.
        names: The outputs' names.
        rounding: Per output the mean difference that rounding makes in Keras itself, from `rounding_of`.

    Raises:
        ValueError: the shapes differ.
    """
    outputs = []
    for place, (want, have) in enumerate(zip(zip(*wanted), zip(*got))):
        want, have = np.stack(want), np.stack(have)
        if want.shape != have.shape:
            raise ValueError(f"the file returns the shape {have.shape[1:]}, Keras {want.shape[1:]}")
        name = names[place] if place < len(names) else f"output {place}"
        outputs.append(_of_output(name, want, have, LIMITS[precision], rounding[place] if rounding else 0.0))
    return Difference(tuple(outputs), len(wanted))


def _of_output(name: str, want: np.ndarray, have: np.ndarray, limits: Limits, rounding: float) -> OutputDifference:
    columns = want.shape[-1] if want.ndim > 2 else 1
    column, hidden = _columns(want, have, limits, rounding)
    want, have = want.reshape(-1, columns), have.reshape(-1, columns)
    spread = float(np.abs(want - want.mean(0)).mean())
    floor = limits.floor * max(float(np.abs(want).max(initial=0.0)), 1e-2)
    difference = np.where(np.isfinite(have), np.abs(want - have), np.inf)
    with np.errstate(invalid="ignore"):
        variation = np.abs((want - want.mean(0)) - (have - have.mean(0)))
    agreement, changed = None, 0.0
    if columns > 1:
        answers = have.argmax(-1)
        margins = want.max(-1) - np.take_along_axis(want, answers[:, None], -1)[:, 0]
        agreement = float((want.argmax(-1) == answers).mean())
        second = np.sort(want, -1)
        changed = float((margins > max(0.5 * (second[:, -1] - second[:, 0]).mean(), floor)).mean())
    return OutputDifference(
        name,
        spread,
        float(difference.max(initial=0.0)),
        float(np.quantile(difference, HIGH)) if np.isfinite(difference).all() else float("inf"),
        float(difference.mean()),
        limits.usual * spread + floor + 10 * rounding,
        limits.wrong * spread + floor + 100 * rounding,
        agreement,
        changed,
        limits.answers,
        float(variation.mean()),
        VARIATION * spread + limits.step * max(float(np.abs(want).max(initial=0.0)), 1e-2) + 100 * rounding,
        column,
        hidden,
    )


def lost_column(want: Sequence[np.ndarray], have: Sequence[np.ndarray]) -> Column | None:
    """Return the column whose variation the file lost most of; None if there is none.

    For outputs whose columns have a scale each, outside the graph: what `compare` allows for the rounding of a large value
    hides there a column that varies little.

    Args:
        want, have: Per sample the output in the model's units, of Keras and of the file.
    """
    difference, spread, largest = _by_column(np.stack(want), np.stack(have))
    lost = (difference > VARIATION * spread) & (spread > 1e-6 * largest)
    if not lost.any():
        return None
    share = np.where(lost, difference / np.maximum(spread, 1e-30), 0.0)
    place = tuple(int(i) for i in np.unravel_index(np.argmax(share), share.shape))
    apart, own, most = (float(each[place]) for each in (difference, spread, largest))
    return Column(place, apart, own, most, VARIATION * own)


def _by_column(want: np.ndarray, have: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean difference, spread and largest value of every column; `want` is (samples, 1, …)."""
    shape = want.shape[3:] or want.shape[2:]  # the axis after the batch is time, unless it is the only one
    want, have = (np.moveaxis(each.reshape(-1, *shape).astype(np.float64), 0, -1) for each in (want, have))
    spread = np.abs(want - want.mean(-1, keepdims=True)).mean(-1)
    difference = np.where(np.isfinite(have), np.abs(want - have), np.inf).mean(-1)
    return difference, spread, np.abs(want).max(-1, initial=0.0)


def _columns(want: np.ndarray, have: np.ndarray, limits: Limits, rounding: float) -> tuple[Column, Column | None]:
    """Return the worst column, and the worst whose spread the file lost; `want` is (samples, 1, …).

    A mean over all of them would hide a series with a small spread behind one with a large spread.
    """
    difference, spread, largest = _by_column(want, have)
    floor = limits.floor * np.maximum(largest, np.clip(largest.max(initial=0.0), 1e-2, 1.0))
    wrong = VARIATION * spread + floor + 100 * rounding

    def at(share: np.ndarray) -> Column:
        place = tuple(int(i) for i in np.unravel_index(np.argmax(share), share.shape))
        return Column(place, *(float(each[place]) for each in (difference, spread, largest, wrong)))

    lost = (largest > np.maximum(_HIDDEN * spread, 1.0)) & (difference > VARIATION * spread) & (spread > 1e-6 * largest)
    return at(difference / wrong), at(
        np.where(lost, difference / np.maximum(spread, 1e-30), 0.0)
    ) if lost.any() else None
