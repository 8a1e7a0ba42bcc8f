"""Bits per character of `language` trained on in float, with `saturation=8`, and in integers (docs/quantization.md).

    python benchmarks/quantization.py --data-dir TFDS            # nano: about 10 minutes on two cores
    python benchmarks/quantization.py --data-dir TFDS --fresh-rows 0.5 --seeds 0,1,2

Every model is scored on the same 500 pieces of 50 characters of tiny_shakespeare's test split, each from empty memory. A model
of `quantize_aware` computes what its file computes (tests/quantization/test_equality.py), so that files need not be run.
"""

import argparse
import itertools
import json
import time
from pathlib import Path

import keras
import numpy as np

import keras_gates
from keras_gates.models import find, load
from keras_gates.models.language import callbacks, with_batch
from keras_gates.models.training.fresh_rows import FreshRows
from keras_gates.quantization.aware import is_quantize_aware

ROWS, PIECES = 32, 500


def bits(model, x, y):
    """Return the bits per character; a probability of 0 counts as 1e-9."""
    predicted = np.take_along_axis(with_batch(model, None).predict(x, verbose=0, batch_size=125), y[..., None], -1)
    return float(-np.log2(np.maximum(predicted, 1e-9)).mean())


def trained(model, data, options, seed):
    """Train further as the zoo does: rows of text whose state is carried over. Return the seconds."""
    epochs, rate = options.epochs, options.rate
    batches = data.training(ROWS, seed, lambda: 0)
    steps = epochs * int(batches.cardinality())
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(keras.optimizers.Adam(schedule, global_clipnorm=1.0), "sparse_categorical_crossentropy")
    every = [*callbacks(model), *([FreshRows(options.fresh_rows)] if options.fresh_rows else [])]
    start = time.perf_counter()
    model.fit(batches, epochs=epochs, shuffle=False, callbacks=every, verbose=0)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", required=True, help="where TFDS has tiny_shakespeare")
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--fresh-rows", type=float, default=0.0, help="share of rows that start from an empty state")
    parser.add_argument("--kinds", default="float,saturation,int8,int4")
    parser.add_argument("--out", default="benchmarks/results/quantization.json")
    options = parser.parse_args()
    data = find("language").data("tfds", options.data_dir, 0)
    x, y = data.arrays("test", PIECES)
    calibration, _ = data.spread("train", 200)
    out = Path(options.out)
    rows = json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
    key = {name: getattr(options, name) for name in ("preset", "epochs", "rate", "fresh_rows")}

    def scores(model):
        """Of the model, and of its int8 file if it is in float."""
        own = bits(model, x, y)
        if is_quantize_aware(model):
            return {"own": own}
        return {"own": own, "int8": bits(keras_gates.quantize_aware(model, calibration=calibration), x, y)}

    for seed, kind in itertools.product(map(int, options.seeds.split(",")), options.kinds.split(",")):
        keras.utils.set_random_seed(seed + 1)
        model = with_batch(load("language", options.preset), ROWS)
        if kind == "saturation":
            model.get_layer("memory_1").saturation = 8.0
        elif kind != "float":
            model = keras_gates.quantize_aware(model, kind, calibration=calibration)
        before = scores(model)
        seconds = trained(model, data, options, seed)
        row = {**key, "seed": seed, "kind": kind, "before": before, "after": scores(model), "seconds": seconds}
        print(row, flush=True)
        same = ("seed", "kind", *key)
        rows = [each for each in rows if any(each[name] != row[name] for name in same)] + [row]
        out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
