"""What repairs of an int8 file are worth: ranges by percentile or least squares, corrected biases.

    TFDS_DATA_DIR=FOLDER python benchmarks/repair.py language-nano text-sentiment-nano gesture-nano digits-nano

Every row is the score of a model of `quantize_aware`, which computes what its file computes, without further training. The
ranges of activations come from the calibration data; a repair changes them, or the biases.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import ship
from trained_in_integers import _names, _scores

import keras_gates
from keras_gates._compat import functional_graph
from keras_gates.layers.standard import weights_of
from keras_gates.models import registry
from keras_gates.models.training import integers
from keras_gates.quantization.layers import array_of
from keras_gates.quantization.numbers import Scale, weight_numbers
from keras_gates.quantization.ranges import Range
from keras_gates.quantization.recurrent import QuantizedRecurrence
from keras_gates.quantization.sums import QuantizedSums

RATIOS = np.linspace(0.5, 1.0, 26)


def percentile(share: float) -> Callable[[Range, np.ndarray], None]:
    """Return a way to widen a range to all but a share of the values at either end."""

    def see(self: Range, x: np.ndarray) -> None:
        if x.size and x.dtype.kind == "f":
            low, high = np.quantile(x, [share, 1 - share])
            self.low, self.high = min(self.low, float(low)), max(self.high, float(high))

    return see


def least_squares(self: Range, x: np.ndarray) -> None:
    """Widen a range to the part of a batch's in which rounding to 8 bits has the least squared error."""
    if not x.size or x.dtype.kind != "f":
        return
    values = np.random.default_rng(0).choice(np.ravel(x), 20_000) if x.size > 20_000 else np.ravel(x)
    low, high = float(x.min()), float(x.max())

    def error(ratio: float) -> float:
        scale = Scale.of_range(low * ratio, high * ratio)
        whole = np.clip(np.rint(values / scale.scale) + scale.zero, -128, 127)
        return float(np.square((whole - scale.zero) * scale.scale - values).mean())

    best = min(RATIOS, key=error)
    self.low, self.high = min(self.low, low * best), max(self.high, high * best)


def correct_biases(aware: keras.Model, calibration: Any) -> None:
    """Take from every bias of LSTMs and dense layers what rounding of the weights adds to the sums on average, in place."""
    layers = [
        layer for layer in functional_graph(aware).layers if isinstance(layer, QuantizedRecurrence | QuantizedSums)
    ]
    inputs = keras.Model(aware.inputs, [keras.tree.flatten(layer.input)[0] for layer in layers])
    outputs = keras.Model(aware.inputs, [keras.tree.flatten(layer.output)[0] for layer in layers])
    befores, afters = (inputs.predict(calibration, verbose=0), outputs.predict(calibration, verbose=0))
    befores, afters = (each if isinstance(each, list) else [each] for each in (befores, afters))
    for layer, before, after in zip(layers, befores, afters):
        x = before.reshape(-1, before.shape[-1]).mean(0)
        if isinstance(layer, QuantizedSums):
            kernel = array_of(layer.flat_kernel())
            if kernel.shape[0] == len(x) and layer.layer.bias is not None:
                layer.layer.bias.assign_sub(x @ _error(kernel, layer.weight_bits, kernel.shape[1]))
            continue
        for part, _ in layer.parts():
            kernel, recurrent, _ = (array_of(weight) for weight in weights_of(part.cell))
            h = after.reshape(-1, after.shape[-1]).mean(0)[: len(recurrent)]
            shift = x @ _error(kernel, layer.weight_bits, 4) + h @ _error(recurrent, layer.weight_bits, 4)
            _add_to_bias(part.cell, -shift)


def _error(kernel: np.ndarray, bits: int, groups: int) -> np.ndarray:
    whole, scale = weight_numbers(keras.ops.convert_to_tensor(kernel), bits, groups)
    return array_of(whole) * array_of(scale) - kernel


def _add_to_bias(cell: Any, shift: np.ndarray) -> None:
    i, f, n, v = np.split(shift, 4)
    if isinstance(cell, keras.layers.LSTMCell):
        cell.bias.assign_add(shift)
        return
    cell.learn.bias.assign_add(np.concatenate([i, n]))
    cell.forget.bias.assign_add(f)
    cell.use.bias.assign_add(v)


def rows_of(stem: str, examples: int, source: str | None) -> dict[str, Any]:
    """Return the score of a shipped model in float, in int8, and after each repair."""
    _, _, _, zoo, data = ship.shipped(stem, source)
    test, calibration = data.arrays("test", examples), data.spread("train", integers.CALIBRATION)[0]

    def aware(see: Callable | None = None) -> keras.Model:
        with mock.patch.object(Range, "see", see or Range.see):
            return keras_gates.quantize_aware(registry.load(*_names(stem)), calibration=calibration)

    def score(model: keras.Model) -> float:
        return next(iter(_scores(zoo, data, test, model).values()))

    result = {"examples": len(test[1]), "float": score(registry.load(*_names(stem))), "min and max": score(aware())}
    for share in (1e-5, 1e-4, 1e-3):
        result[f"without {share:.3%} at either end"] = score(aware(percentile(share)))
    result["least squares"] = score(aware(least_squares))
    corrected = aware()
    correct_biases(corrected, calibration)
    result["corrected biases"] = score(corrected)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stems", nargs="+", metavar="MODEL-PRESET")
    parser.add_argument("--examples", type=int, default=ship.EXAMPLES)
    parser.add_argument("--data", help="where the card's own file lies")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/repair.json"))
    arguments = parser.parse_args()
    rows = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}
    for stem in arguments.stems:
        rows[stem] = rows_of(stem, arguments.examples, arguments.data)
        print(stem, rows[stem], flush=True)
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
