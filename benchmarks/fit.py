"""What a user feels: whole `model.fit` epochs with GateLSTM against the same model with `keras.layers.LSTM`.

    KERAS_BACKEND=tensorflow python benchmarks/fit.py [--shapes 32/100/64/128 ...] [--epochs 5] [--batches 20]
    KERAS_BACKEND=tensorflow python benchmarks/fit.py --memory        # peak memory of a training, a child each
    KERAS_BACKEND=tensorflow python benchmarks/fit.py --lengths       # every batch of tokens has another length

The models train in turn, an epoch at a time, `jit_compile="auto"` (which Keras turns off on a CPU) unless the name says
XLA. The first epoch, with tracing and compiling, stands apart. Writes `benchmarks/results/fit_BACKEND.json`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cores  # first: it limits the threads of the frameworks
import keras
import numpy as np

from keras_gates import GateLSTM
from keras_gates._files import write_json

SHAPES = ["32/100/64/128", "32/400/16/32", "64/28/28/64", "16/250/13/96", "32/35/200/200", "128/50/128/256"]
LARGE = ["32/100/64/128", "128/400/64/256"]  # for --memory: where the compiler is what is held, and where tensors are
BACKEND = keras.backend.backend()
RESULTS = Path(__file__).parent / "results"
CONTENDERS = {
    "GateLSTM": (lambda units: GateLSTM(units), "auto"),
    "GateLSTM article": (lambda units: GateLSTM(units, formulation="article"), "auto"),
    "keras.layers.LSTM": (lambda units: keras.layers.LSTM(units), "auto"),
    "keras.layers.LSTM XLA": (lambda units: keras.layers.LSTM(units), True),
}


def trainer(name: str, shape: str, batches: int):
    """A function that trains one epoch."""
    batch, steps, features, units = map(int, shape.split("/"))
    make, jit_compile = CONTENDERS[name]
    model = keras.Sequential([keras.Input((steps, features)), make(units), keras.layers.Dense(4)])
    model.compile("adam", "mse", jit_compile=jit_compile)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch * batches + batch // 2, steps, features)).astype("float32")  # a partial batch at the end
    y = rng.normal(size=(len(x), 4)).astype("float32")
    return lambda: model.fit(x, y, batch_size=batch, epochs=1, verbose=0)


class Batches(keras.utils.PyDataset):
    """Batches of 32 texts of 20 to 200 tokens: all of one batch as long as its longest, and in every epoch other lengths."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.batches, self.rng = batches, np.random.default_rng(0)

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        length = self.rng.integers(20, 201)
        tokens = self.rng.integers(1, 1000, (32, length))
        tokens[np.arange(length) >= self.rng.integers(length // 2, length + 1, (32, 1))] = 0
        return tokens, self.rng.integers(0, 2, (32, 1))


def text_trainer(name: str, masked: bool, batches: int):
    """A function that trains one epoch on texts of many lengths, 64 features and units."""
    make, jit_compile = CONTENDERS[name]
    embedding = keras.layers.Embedding(1000, 64, mask_zero=masked)
    model = keras.Sequential([keras.Input((None,), dtype="int32"), embedding, make(64), keras.layers.Dense(1)])
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=jit_compile)
    data = Batches(batches)
    return lambda: model.fit(data, epochs=1, verbose=0)


def measure(trainers: dict, epochs: int) -> dict[str, dict[str, float]]:
    """Seconds of wall and processor time: of the first epoch, and the median of the others."""
    names = list(trainers)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(epochs + 1):
        for name, train in trainers.items():
            start, used = time.perf_counter(), time.process_time()
            train()
            times[name].append((time.perf_counter() - start, time.process_time() - used))
    return {
        name: {
            "first_wall": t[0][0],
            "first_processor": t[0][1],
            "wall": float(np.median([w for w, _ in t[1:]])),
            "processor": float(np.median([p for _, p in t[1:]])),
        }
        for name, t in times.items()
    }


def peak(call: str) -> float:
    """MB that three epochs of `call`, an expression that makes a trainer, add to the process, in a child of its own."""
    code = f"import fit; fit.print_peak(fit.{call})"
    child = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)
    if child.returncode:
        raise RuntimeError(f"The child that runs {call} failed:\n{child.stderr[-2000:]}")
    return float(child.stdout.split()[-1])


def print_peak(train) -> None:
    """What the child of `peak` does."""
    before = peak_kilobytes()
    for _ in range(3):
        train()
    print((peak_kilobytes() - before) / 1024)


def peak_kilobytes() -> int:
    """The process' peak; not by `getrusage`, in which a child starts from its parent's peak."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=None, help="batch/time/features/units")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--threads", type=int, default=None, help="processors that may be used (default: all)")
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time")
    parser.add_argument("--lengths", action="store_true", help="batches of many lengths, with and without a mask")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.lengths:
        return lengths(arguments.out, arguments.epochs)
    machine = cores.described(cores.machine())
    names = [name for name, (_, jit) in CONTENDERS.items() if BACKEND == "tensorflow" or jit == "auto"]
    rows = []
    for shape in arguments.shapes or (LARGE if arguments.memory else SHAPES):
        if arguments.memory:
            figures = {name: {"added_MB": peak(f"trainer({name!r}, {shape!r}, 4)")} for name in names}
        else:
            figures = measure({n: trainer(n, shape, arguments.batches) for n in names}, arguments.epochs)
        rows.append({"shape": shape, "load": os.getloadavg()[0], "machine": machine, "models": figures})
        show(shape, figures)
        arguments.out.mkdir(exist_ok=True)
        write_json(arguments.out / f"{'memory' if arguments.memory else 'fit'}_{BACKEND}.json", rows)


def show(what: str, figures: dict[str, dict[str, float]]) -> None:
    for name, values in figures.items():
        line = "  ".join(f"{key} {value:.3f}" for key, value in values.items())
        print(f"{what:16s} {name:24s} {line}", flush=True)


def lengths(out: Path, epochs: int) -> None:
    """Time and memory of GateLSTM and `keras.layers.LSTM` on texts of many lengths; writes `lengths_BACKEND.json`."""
    rows, machine = [], cores.described(cores.machine())
    for masked in (False, True):
        names = ["GateLSTM", "keras.layers.LSTM"]
        figures = measure({name: text_trainer(name, masked, 80) for name in names}, epochs)
        for name in names:
            figures[name]["added_MB"] = peak(f"text_trainer({name!r}, {masked}, 80)")
        rows.append({"masked": masked, "load": os.getloadavg()[0], "machine": machine, "models": figures})
        show("masked" if masked else "no mask", figures)
    out.mkdir(exist_ok=True)
    write_json(out / f"lengths_{BACKEND}.json", rows)


if __name__ == "__main__":
    main()
