"""Whether other ranges or corrected biases repair what int8 loses after ordinary training (docs/quantization.md).

    python benchmarks/repair.py --data-dir TFDS language-nano language-small text-sentiment

The forward pass of `quantize_aware` is that of the int8 file, so that its scales and biases can be changed and scored without an
export. Ranges: smallest to largest value on the calibration data (as exported), 99.99 and 99.9 percentiles, the range of least
mean squared error. Bias: what the last layer's sums miss on average is added to its bias.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np

import keras_gates
from keras_gates.models import find, load
from keras_gates.models.language import with_batch
from keras_gates.quantization.numbers import Scale

OUT = Path("benchmarks/results/repair.json")


def score(model, x, y):
    """Return bits per character, or the accuracy in percent of one class per example."""
    predicted = model.predict(x, verbose=0, batch_size=125)
    if y.ndim > 1:
        return float(-np.log2(np.maximum(np.take_along_axis(predicted, y[..., None], -1), 1e-9)).mean())
    return float(100 * (predicted.argmax(-1) == y).mean())


def least_error(values):
    """Return the range around zero whose 256 steps have the least mean squared error."""
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)

    def error(share):
        scale = Scale.of_range(share * low, share * high)
        numbers = np.clip(np.round(values / scale.scale) + scale.zero, -128, 127)
        return np.square((numbers - scale.zero) * scale.scale - values).mean()

    best = min(np.linspace(0.5, 1.0, 26), key=error)
    return best * low, best * high


RANGES = {
    "smallest to largest": None,
    "99.99 percentile": lambda values: np.quantile(values, [1e-4, 1 - 1e-4]),
    "99.9 percentile": lambda values: np.quantile(values, [1e-3, 1 - 1e-3]),
    "least squared error": least_error,
}


def with_ranges(model, aware, x, choose):
    """Give LSTMs and the last sums other ranges, those of the float model's values on `x`."""
    integers = [layer for layer in aware.layers if hasattr(layer, "scales")]
    tensors = [model.get_layer(layer.name).output for layer in integers]
    values = keras.Model(model.inputs, tensors).predict(x, verbose=0)
    values[-1] = logits(values[-1])
    chance = np.random.default_rng(0)
    for layer, after, seen in zip(integers, [*integers[1:], None], values):
        key = "hidden" if "hidden" in layer.scales else "output"
        if "input" not in layer.scales:
            continue  # the table of an embedding, whose range nothing exceeds
        low, high = choose(chance.choice(seen.ravel(), min(seen.size, 200_000), replace=False))
        layer.scales[key] = Scale.of_range(low, high).to_list()
        if after is not None:
            after.scales["input"] = layer.scales[key]


def logits(probabilities):
    """Return what a softmax was computed of, but for a constant: each row's mean is zero."""
    x = np.log(np.maximum(probabilities, 1e-30))
    return x - x.mean(-1, keepdims=True)


def with_bias(model, aware, x):
    """Add to the last layer's bias what its sums miss on average."""
    missed = logits(model.predict(x, verbose=0)) - logits(aware.predict(x, verbose=0))
    bias = aware.layers[-1].layer.bias
    bias.assign(keras.ops.convert_to_numpy(bias) + missed.reshape(-1, missed.shape[-1]).mean(0))


def parts(name, data_dir):
    """Return the model without its text layer, calibration data, test data and targets."""
    kind, preset = name.split("-", 1)
    data = find(kind).data("tfds", data_dir, 0)
    model = load(kind, preset)
    (x, y), (calibration, _) = data.arrays("test", 500 if kind == "language" else 2000), data.spread("train", 200)
    if kind == "language":
        return with_batch(model, None), calibration, x, y
    words = model.layers[1]
    inner = keras.Model(words.output, model.output)
    return inner, *(np.asarray(words(np.ravel(texts).astype(str))) for texts in (calibration, x)), np.ravel(y)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--data-dir", required=True, help="where TFDS has tiny_shakespeare and imdb_reviews")
    options = parser.parse_args()
    every = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    for name in options.names:
        model, calibration, x, y = parts(name, options.data_dir)
        rows = every[name] = {"float": score(model, x, y)}
        for range_, choose in RANGES.items():
            aware = keras_gates.quantize_aware(model, calibration=calibration)
            if choose is not None:
                with_ranges(model, aware, calibration, choose)
            rows[range_] = score(aware, x, y)
            if choose is None:
                with_bias(model, aware, calibration)
                rows["bias corrected"] = score(aware, x, y)
            print(name, rows, flush=True)
        OUT.write_text(json.dumps(every, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
