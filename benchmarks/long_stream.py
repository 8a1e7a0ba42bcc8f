"""A million events, one at a time: does the memory drift, does the process grow?

    python benchmarks/long_stream.py [--events 1000000]

One endless signal goes through a stateful `GateLSTM` in Keras and, event by event in `EdgeModel`, through three files of the same
weights: fused float32, fused int8, and float32 with STM and LTM as inputs and outputs. A NumPy LSTM in float64 is the reference.
After each interval this prints the memory of the process, the largest STM of the interval, and the largest difference of each
from float64 over all events of the interval: a drift would make the later figures larger than the first.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import psutil

import keras_gates
from keras_gates.edge import EdgeModel

FEATURES, UNITS, CHUNK = 3, 16, 1000
FILES = {
    "fused": {},
    "fused int8": {"precision": "int8"},
    "explicit memory": {"lowering": "step"},
}


def signal(start, count):
    """Events `start` … of one endless signal, (count, FEATURES)."""
    draw = np.random.default_rng(start)
    time = np.arange(start, start + count)[:, None] / (7.0, 97.0, 1013.0)
    return (np.sin(time) + 0.1 * draw.normal(size=(count, FEATURES))).astype("float32")


def oracle(events, stm, ltm, kernel, recurrent_kernel, bias):
    """Every STM in NumPy float64, in Keras' column order, and the last memories."""
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    answers = np.empty((len(events), UNITS))
    for number, event in enumerate(events):
        ignore, forget, candidate, use = np.split(event @ kernel + stm @ recurrent_kernel + bias, 4)
        ltm = ltm * sigmoid(forget) + np.tanh(candidate) * sigmoid(ignore)
        stm = answers[number] = np.tanh(ltm) * sigmoid(use)
    return answers, stm, ltm


def in_keras(weights):
    """A stateful layer with these weights: (chunk) → every STM."""
    layer = keras_gates.GateLSTM(UNITS, stateful=True, return_sequences=True)
    events = keras.Input(batch_shape=(1, CHUNK, FEATURES))
    model = keras.Model(events, layer(events))
    layer.set_weights(weights)
    layer.reset_state()
    return lambda chunk: keras.ops.convert_to_numpy(model(chunk[None]))[0]


def in_edge(model, folder, options):
    """A stream of a file of this model: (chunk) → every STM, one event a call."""
    calibration = [signal(start, 200) for start in range(0, 20_000, 2000)]
    keras_gates.export(model, folder, ["tflite"], mode="stream", calibration=calibration, **options)
    stream = EdgeModel(Path(folder) / "model.tflite").stream()
    return lambda chunk: np.stack([np.ravel(stream.push(event)) for event in chunk])


def megabytes():
    return psutil.Process().memory_info().rss / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="a multiple of 20,000 (default: %(default)s)")
    events = parser.parse_args().events
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((None, FEATURES)), keras_gates.GateLSTM(UNITS)])
    learned = [weight.astype("float64") for weight in keras_gates.to_keras(model.layers[0]).get_weights()]
    subjects = {"stateful GateLSTM": in_keras(model.layers[0].get_weights())}
    for name, options in FILES.items():
        with tempfile.TemporaryDirectory() as folder:
            subjects[name] = in_edge(model, folder, options)
    print("events".rjust(10), "MB".rjust(6), "STM".rjust(6), *(name.rjust(18) for name in subjects), flush=True)
    stm = ltm = np.zeros(UNITS)
    farthest, largest, started = dict.fromkeys(subjects, 0.0), 0.0, time.process_time()
    for start in range(0, events, CHUNK):
        chunk = signal(start, CHUNK)
        answers, stm, ltm = oracle(chunk, stm, ltm, *learned)
        largest = max(largest, float(np.abs(answers).max()))
        for name, run in subjects.items():
            farthest[name] = max(farthest[name], float(np.abs(run(chunk) - answers).max()))
        done = start + CHUNK
        if done in (events // 100, events // 20) or done % (events // 10) == 0:
            figures = (f"{distance:.2e}".rjust(18) for distance in farthest.values())
            print(f"{done:10,} {megabytes():6.0f} {largest:6.3f}", *figures, flush=True)
            farthest, largest = dict.fromkeys(subjects, 0.0), 0.0
    print(f"{time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    main()
