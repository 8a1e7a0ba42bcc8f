"""Bits per character of `language` in float, quantized after training, and trained in integers (docs/quantization.md).

    python benchmarks/quantization.py --data-dir TFDS            # nano: about 10 minutes on two cores

Every model is scored on the same 500 pieces of 50 characters of tiny_shakespeare's test split, each from empty memory. A model
of `quantize_aware` computes what its file computes (tests/quantization/test_equality.py), so that files need not be run.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np

import keras_gates
from keras_gates.models import find, load
from keras_gates.models.language import callbacks, with_batch

ROWS, PIECES = 32, 500


def bits(model, x, y):
    """Return the bits per character; a probability of 0 counts as 1e-9."""
    predicted = np.take_along_axis(with_batch(model, None).predict(x, verbose=0, batch_size=125), y[..., None], -1)
    return float(-np.log2(np.maximum(predicted, 1e-9)).mean())


def trained(model, data, epochs, rate, seed):
    """Train further as the zoo does: rows of text whose state is carried over."""
    batches = data.training(ROWS, seed, lambda: 0)
    steps = epochs * int(batches.cardinality())
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(keras.optimizers.Adam(schedule, global_clipnorm=1.0), "sparse_categorical_crossentropy")
    start = time.perf_counter()
    model.fit(batches, epochs=epochs, shuffle=False, callbacks=callbacks(model), verbose=0)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", required=True, help="where TFDS has tiny_shakespeare")
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="float,int8,int4")
    parser.add_argument("--out", default="benchmarks/results/quantization.json")
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed + 1)
    data = find("language").data("tfds", options.data_dir, options.seed)
    x, y = data.arrays("test", PIECES)
    calibration, _ = data.spread("train", 200)
    shipped = load("language", options.preset)
    rows = {}
    for kind in options.kinds.split(","):
        model = with_batch(shipped, ROWS)
        if kind != "float":
            model = keras_gates.quantize_aware(model, kind, calibration=calibration)
        before = bits(model, x, y)
        seconds = trained(model, data, options.epochs, options.rate, options.seed)
        rows[kind] = {"before": before, "after": bits(model, x, y), "seconds": seconds}
        print(f"{kind}: {before:.4f} before, {rows[kind]['after']:.4f} after, {seconds:.0f} s", flush=True)
    setting = {name: getattr(options, name) for name in ("preset", "epochs", "rate", "seed")}
    Path(options.out).write_text(json.dumps({**setting, "bits per character": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
