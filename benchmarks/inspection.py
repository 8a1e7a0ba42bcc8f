"""How long `trace`, `influence` and `report` take, and where the largest bar of `influence` stands on `show`.

    python benchmarks/inspection.py            # all; writes benchmarks/results/inspection_BACKEND.json
    python benchmarks/inspection.py --only time

The time is that of 8 sequences of 1,000 events of 16 features through one layer with plain gates, the best of five. `influence`
is measured per backward pass: the gradient once, and integrated gradients divided by the number of their passes.

`report` is one of four texts of 240 words by the shipped model `text` (sentiment, 250 events in both directions): seconds of the
first call and the least of four more, on the clock and of the processor.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras
import numpy as np

import keras_gates

RESULTS = Path(__file__).parent / "results"


def seconds(function, repeats=5):
    """The least wall time of a call, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


def measure_time(units=32, batch=8, length=1000, features=16):
    """Ratios to `predict` by layer."""
    x = np.random.default_rng(0).normal(size=(batch, length, features)).astype("float32")
    layers = {
        "GateLSTM": keras_gates.GateLSTM(units),
        "GateLSTM, article": keras_gates.GateLSTM(units, formulation="article"),
        "keras.layers.LSTM": keras.layers.LSTM(units),
    }
    result = {}
    for name, layer in layers.items():
        model = keras.Sequential([keras.Input((length, features)), layer, keras.layers.Dense(4, "softmax")])
        predict = seconds(lambda model=model: model.predict(x, verbose=0))
        trace = seconds(lambda model=model: keras_gates.trace(model, x))
        one = seconds(lambda model=model: keras_gates.influence(model, x, method="gradient"))
        many = seconds(lambda model=model: keras_gates.influence(model, x, background=x[:1], steps=16), 2)
        result[name] = {
            "predict_ms": round(1000 * predict, 1),
            "trace": round(trace / predict, 2),
            "gradient": round(one / predict, 2),
            "integrated_per_pass": round(many / 16 / predict, 2),
        }
        print(name, result[name], flush=True)
    return result


def measure_clue(count=256, seeds=(0, 1), lag=40):
    """By method, the share of `show` sequences whose largest past bar is on the clue, one number per draw."""
    from keras_gates import models
    from keras_gates.models import show

    model, data = models.load("show"), show.data()
    methods = {
        "gradient": {"method": "gradient", "of": "prediction"},
        "integrated, grey pictures": {"background": np.full((1, data.frames, 16, 16, 3), 127.5, "float32")},
        "integrated, other examples (the default)": {},
    }
    result = {name: [] for name in methods}
    for seed in seeds:
        x, _ = data.at("test", lag, count, seed)
        for name, options in methods.items():
            bars = np.abs(keras_gates.influence(model, x, memory=False, **options).strength[:, :-1])
            result[name].append(round(float((bars.argmax(axis=1) == data.frames - 1 - lag).mean()), 3))
            print(seed, name, result[name], flush=True)
    return result


def measure_horizon(count=64):
    """By method, how many of the last of 62 frames hold 90 % of the influence, for the shipped `show` model on test shows."""
    from keras_gates import models
    from keras_gates.models import show

    model, x = models.load("show"), show.data().arrays("test", count)[0]
    methods = {"gradient": {"method": "gradient"}, "integrated": {}}
    result = {name: keras_gates.memory_horizon(model, x, **options).events for name, options in methods.items()}
    print(result, flush=True)
    return result


def measure_report(words=240, repeats=4):
    """Seconds of a report of four texts."""
    from keras_gates import models

    model, random = models.load("text"), np.random.default_rng(0)
    known = np.array([word for word in model.get_layer("words").vocabulary[2:3000] if word.isalpha()])
    texts = np.array([" ".join(random.choice(known, words)) for _ in range(4)], object)
    clock, processor = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(1 + repeats):
            began, used = time.perf_counter(), time.process_time()
            keras_gates.report(
                model, texts, Path(folder, "report.html"), truth=[0, 1, 0, 1], labels=["negative", "positive"]
            )
            clock.append(time.perf_counter() - began)
            processor.append(time.process_time() - used)
    result = {
        "first_s": round(clock[0], 2),
        "first_processor_s": round(processor[0], 2),
        "s": round(min(clock[1:]), 2),
        "processor_s": round(min(processor[1:]), 2),
    }
    print(result, flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("time", "clue", "horizon", "report"))
    only = parser.parse_args().only
    path = RESULTS / f"inspection_{keras.backend.backend()}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    measures = {"time": measure_time, "clue": measure_clue, "horizon": measure_horizon, "report": measure_report}
    for name, measure in measures.items():
        if only in (None, name):
            known[name] = measure()
    path.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()
