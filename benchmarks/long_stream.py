"""A million events, one at a time: does the memory drift, does the process grow?

    python benchmarks/long_stream.py [--events 1000000]

Runs a stateful `GateLSTM` in Keras and a fused streaming .tflite in `EdgeModel` over the same endless signal, and prints the
process' memory along the way, the largest STM, and how far each ever was (looked at every 1000 events) from a NumPy float64
LSTM that went the whole way.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import psutil

import keras_gates
from keras_gates.edge import EdgeModel

FEATURES, UNITS, CHUNK = 3, 16, 1000


def signal(start, count):
    """Events `start` … of one endless signal, (count, FEATURES)."""
    draw = np.random.default_rng(start)
    time = np.arange(start, start + count)[:, None] / (7.0, 97.0, 1013.0)
    return (np.sin(time) + 0.1 * draw.normal(size=(count, FEATURES))).astype("float32")


def step(event, stm, ltm, kernel, recurrent_kernel, bias):
    """One event in NumPy float64, in Keras' column order."""
    ignore, forget, candidate, use = np.split(event @ kernel + stm @ recurrent_kernel + bias, 4, -1)
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    ltm = ltm * sigmoid(forget) + np.tanh(candidate) * sigmoid(ignore)
    return np.tanh(ltm) * sigmoid(use), ltm


def megabytes():
    return psutil.Process().memory_info().rss / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    events = parser.parse_args().events
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((None, FEATURES)), keras_gates.GateLSTM(UNITS)])
    learned = [w.astype("float64") for w in keras_gates.to_keras(model.layers[0]).get_weights()]
    stateful = keras_gates.GateLSTM(UNITS, stateful=True)
    stateful(keras.ops.zeros((1, 1, FEATURES)))
    stateful.set_weights(model.layers[0].get_weights())
    stateful.reset_state()
    keras_input = keras.Input(batch_shape=(1, CHUNK, FEATURES))
    whole = keras.Model(keras_input, stateful(keras_input))
    stateful.reset_state()

    with tempfile.TemporaryDirectory() as folder:
        keras_gates.export(model, folder, ["tflite"], mode="stream")
        edge = EdgeModel(Path(folder) / "model.tflite")
        stream = edge.stream()
        stm = ltm = np.zeros((1, UNITS))
        farthest = {"stateful GateLSTM": 0.0, "fused .tflite": 0.0}
        largest = 0.0
        for start in range(0, events, CHUNK):
            chunk = signal(start, CHUNK)
            from_keras = keras.ops.convert_to_numpy(whole(chunk[None]))[0]
            for event in chunk:
                from_file = np.ravel(stream.push(event))
                stm, ltm = step(event, stm, ltm, *learned)
            largest = max(largest, float(np.abs(stm).max()))
            farthest["stateful GateLSTM"] = max(farthest["stateful GateLSTM"], float(np.abs(from_keras - stm).max()))
            farthest["fused .tflite"] = max(farthest["fused .tflite"], float(np.abs(from_file - stm).max()))
            done = start + CHUNK
            if done in (events // 100, events // 10, events // 4, events // 2, events):
                told = ", ".join(f"{name} {distance:.1e}" for name, distance in farthest.items())
                print(
                    f"{done:,} events: {megabytes():.0f} MB; largest STM {largest:.3f}; from float64: {told}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
