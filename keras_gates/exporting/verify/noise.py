"""Where integers lose: per layer and gate, what rounding a single tensor costs, and what to try."""

from __future__ import annotations

import dataclasses
import html
from dataclasses import dataclass

import keras
import numpy as np
from keras import tree

from keras_gates.exporting.model_inputs import Inputs, Sample
from keras_gates.exporting.verify.rounding import Range, Rounding, rounded

_MARGIN = 3  # times the costs: a file that loses more is wrong, not imprecise (`benchmarks/export.py verification`)
_COST, _CLIPPED, _UNUSED = 0.01, 1e-3, 0.5  # below this cost there is nothing to try


@dataclass(frozen=True)
class TensorNoise:
    """One tensor of the integer model.

    Attributes:
        layer: name of the layer, or of the model's input.
        tensor: name of the tensor within the layer: a gate's weights or sum, the cell state, the hidden state, the output.
        kind: "weights", "sum", "cell", "hidden" or "output".
        decibels: signal-to-noise ratio of rounding it.
        clipped: share of the values beyond its range.
        unused: share of its range beyond the middle 99.8 % of the values.
        cost: mean difference of the model's output if only this tensor is rounded, as a share of the output's spread.
        advice: what to try, a sentence; empty if nothing has to be tried.
    """

    layer: str
    tensor: str
    kind: str
    decibels: float
    clipped: float
    unused: float
    cost: float
    advice: str


@dataclass(frozen=True, repr=False)
class QuantizationReport:
    """What rounding each tensor of a model costs, the costliest first.

    Attributes:
        precision: "int8" or "int16x8".
        samples: sequences that were run.
        tensors: one entry per tensor.
    """

    precision: str
    samples: int
    tensors: tuple[TensorNoise, ...]

    def explains(self, usual: float, spread: float) -> float:
        """Return the mean difference that the roundings explain: some times what they cost if none cancels another.

        Args:
            usual: what rounding explains in any model.
            spread: mean distance of the output's values from their column's mean.
        """
        return max(usual, _MARGIN * spread * sum(each.cost for each in self.tensors))

    @property
    def summary(self) -> str:
        """The three costliest tensors and what to try, in one line."""
        costs = ", ".join(f"{each.layer}, {each.tensor} ({each.cost:.1%})" for each in self.tensors[:3])
        advice = f". {self.advice[0]}" if self.advice else ""
        return f"rounding one tensor at a time changes the output most at: {costs}{advice}"

    @property
    def advice(self) -> tuple[str, ...]:
        """What to try, each sentence once, the most promising first."""
        return tuple(dict.fromkeys(each.advice for each in self.tensors if each.advice))

    def __repr__(self) -> str:
        return f"<QuantizationReport: {self.precision}, {len(self.tensors)} tensors, {self.samples} sequences>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def __str__(self) -> str:
        rows = [("cost", "dB", "clipped", "unused", "layer", "tensor")]
        for each in self.tensors:
            shares = f"{each.cost:.2%}", f"{each.decibels:.0f}", f"{each.clipped:.2%}", f"{each.unused:.0%}"
            rows.append((*shares, each.layer, each.tensor))
        widths = [max(len(row[place]) for row in rows) for place in range(6)]
        lines = [
            "  ".join(
                cell.rjust(width) if place < 4 else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(row, widths))
            )
            for row in rows
        ]
        head = (
            f"{self.precision}, {self.samples} sequences; cost: mean difference of the output, as a share of its spread"
        )
        return "\n".join([head, *(line.rstrip() for line in lines), *(f"- {sentence}" for sentence in self.advice)])


def noise_of(
    model: keras.Model, inputs: Inputs, sequences: list[Sample], precision: str, outside: bool = False
) -> QuantizationReport:
    """Round one tensor at a time; see `keras_gates.quantization_report`.

    Args:
        model: the model.
        inputs: its inputs.
        sequences: at least two samples, of one length.
        precision: "int8" or "int16x8".
        outside: the model begins with a front end that the export leaves outside, so that its inputs stay in float.
    """
    rounding = Rounding(16 if precision == "int16x8" else 8)

    def run(these: list[Sample]) -> list[np.ndarray]:
        arrays = [np.concatenate(each) for each in zip(*these)]
        if not outside:
            ports = zip(inputs.ports, arrays)
            arrays = [rounding(p.name, "input", "output", x) if p.dtype == "float32" else x for p, x in ports]
        with rounded(model, rounding):
            results = tree.flatten(model(inputs.pack(arrays), training=False))
        return [np.asarray(keras.ops.convert_to_numpy(each), np.float32) for each in results]

    run([each for number, each in enumerate(sequences) if number % 5])
    rounding.mode, held_out = "measure", sequences[::5]
    wanted = run(held_out)
    rounding.mode, tensors = "round", []
    spreads = [max(float(np.abs(want - want.mean(0)).mean()), 1e-9) for want in wanted]
    for (layer, tensor), values in rounding.ranges.items():
        rounding.only = layer, tensor
        costs = [float(np.abs(got - want).mean()) / spread for got, want, spread in zip(run(held_out), wanted, spreads)]
        tensors.append(_noise(layer, tensor, values, max(costs), precision))
    return QuantizationReport(precision, len(held_out), tuple(sorted(tensors, key=lambda each: -each.cost)))


def _noise(layer: str, tensor: str, values: Range, cost: float, precision: str) -> TensorNoise:
    clipped, unused = values.clipped / max(values.count, 1), 1 - values.used
    noise = TensorNoise(layer, tensor, values.kind, values.decibels, clipped, unused, cost, "")
    return dataclasses.replace(noise, advice=_advice(noise, precision)) if cost > _COST else noise


def _advice(noise: TensorNoise, precision: str) -> str:
    where = f"{noise.layer}, {noise.tensor}"
    if noise.kind == "sum" and noise.clipped > _CLIPPED:
        return (
            f"{where}: {noise.clipped:.1%} of the values are beyond ±8, where integers clip them; train with a clip there, or "
            "with weight decay"
        )
    if noise.clipped > _CLIPPED:
        return (
            f"{where}: {noise.clipped:.1%} of the values are beyond the calibrated range; calibrate with more sequences"
        )
    if noise.unused > _UNUSED:
        return f"{where}: {noise.unused:.0%} of the range holds 0.2 % of the values; avoid such values in the data or the model"
    below = f"{where}: rounding is {noise.decibels:.0f} dB below the values"
    if precision == "int16x8":
        return f"{below}; smaller weights lose less, train with weight decay"
    train = "train with it, if quantize_aware takes the layer"
    return f"{below}; {train}" if noise.kind == "weights" else f"{below}; try int16x8, or {train}"
