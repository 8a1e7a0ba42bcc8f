"""How fast a layer runs, side by side with `keras.layers.LSTM` and `torch.nn.LSTM`, in one interleaved run.

    KERAS_BACKEND=tensorflow python benchmarks/layers.py [--shapes 32/100/64/128 ...] [--variant plain masked ...] [--quick]
    KERAS_BACKEND=torch python benchmarks/layers.py --variant all --threads 4      # also jax; without TensorFlow

Shapes are batch/time/features/units. For every contender: the forward pass, and a training step (the gradients of all
weights and of the input). Wall time and the processor time of all threads, medians; the processor time says what the
work costs when other programs keep the cores busy, the wall time says what the cores together make of it. After each
shape it writes `benchmarks/results/layers_BACKEND_VARIANT.json`, at the end a picture beside it; `benchmarks/tables.py` puts the
figures into the documentation. Of two calls in a row the second counts.

`plain`, `last` (only the last output), `masked`, `stacked`, `bidirectional` and `mixed_bfloat16` compare the same layer of
everyone. The variants of the gates (`peephole`, `coupled`, `layer_norm`, `zoneout`, `projection`) stand beside the plain
`keras.layers.LSTM` and `torch.nn.LSTM`, which have none of them; only for `projection` `torch.nn.LSTM` projects, too.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cores  # first: it limits the threads of the frameworks
import keras
import numpy as np
import peers
from keras import ops
from peers import Pair, timed
from ratios import summary

import keras_gates as gates
from keras_gates import GateLSTM, GateLSTMCell

GRID = "1/100/64/128 32/100/64/128 128/50/128/256 32/400/16/32 64/28/28/64 16/250/13/96 256/20/8/16 32/35/200/200"
GRID = [*GRID.split(), "8/1000/32/64"]
SHORT = ["32/7/12/128", "32/4/128/128"]  # encoder and decoder of Keras' addition example
QUICK = ["32/100/64/128", "64/28/28/64"]
SAME = ("plain", "last", "masked", "stacked", "bidirectional", "mixed_bfloat16")
GATES: dict[str, Callable[[int, str], dict[str, Any]]] = {
    "peephole": lambda units, form: {
        "learn": gates.PeepholeLearnGate(units),
        "forget": gates.PeepholeForgetGate(units),
        "use": gates.PeepholeUseGate(units, formulation=form),
    },
    "coupled": lambda units, form: {"forget": gates.CoupledForgetGate(units)},
    "layer_norm": lambda units, form: {
        "learn": gates.LayerNormLearnGate(units),
        "forget": gates.LayerNormForgetGate(units),
        "use": gates.LayerNormUseGate(units, formulation=form),
    },
    "zoneout": lambda units, form: {
        "remember": gates.ZoneoutRememberGate(units),
        "use": gates.ZoneoutUseGate(units, formulation=form),
    },
    "projection": lambda units, form: {
        "use": gates.ProjectionUseGate(units, projection=units // 2, formulation=form),
    },
}
VARIANTS = (*SAME, *GATES)
BACKEND = keras.backend.backend()
RESULTS = Path(__file__).parent / "results"


def network(make: Callable, variant: str) -> keras.Model:
    """The layer as the variant wants it, in a model."""
    keras.config.set_dtype_policy(variant if variant == "mixed_bfloat16" else "float32")
    if variant == "last":
        layers = [make()]
    elif variant == "stacked":
        layers = [make(return_sequences=True), make(return_sequences=True)]
    elif variant == "bidirectional":
        layers = [keras.layers.Bidirectional(make(return_sequences=True))]
    else:
        layers = [make(return_sequences=True)]
    model = keras.Sequential(layers)
    keras.config.set_dtype_policy("float32")
    return model


def with_tensorflow(model: keras.Model, x: np.ndarray, mask: Any, jit_compile: bool) -> Pair:
    import tensorflow as tf

    events, mask = tf.constant(x), None if mask is None else tf.constant(mask)
    model(events, mask=mask)
    values = [variable.value for variable in model.trainable_variables]

    def forward(events: Any) -> Any:
        return model(events, mask=mask)

    def train(events: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(events)
            loss = tf.reduce_sum(tf.square(tf.cast(model(events, mask=mask, training=True), tf.float32)))
        return tape.gradient(loss, [events, *values])

    compiled = [tf.function(f, jit_compile=jit_compile, autograph=False) for f in (forward, train)]
    return tuple(lambda f=f: f(events) for f in compiled)


def with_jax(model: keras.Model, x: np.ndarray, mask: Any, jit_compile: bool) -> Pair:
    import jax

    model(x, mask=mask)
    values, fixed = ([v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables))

    def run(values: list, x: Any, training: bool = False) -> Any:
        return model.stateless_call(values, fixed, x, mask=mask, training=training)[0]

    train = jax.jit(jax.grad(lambda values, x: ops.sum(ops.cast(run(values, x, True), "float32") ** 2), argnums=(0, 1)))
    forward, events = jax.jit(run), jax.numpy.asarray(x)
    return (
        lambda: jax.block_until_ready(forward(values, events)),
        lambda: jax.block_until_ready(train(values, events)),
    )


def with_torch(model: keras.Model, x: np.ndarray, mask: Any, jit_compile: bool) -> Pair:
    import torch

    events, mask = torch.tensor(x, requires_grad=True), None if mask is None else torch.tensor(mask)
    with torch.no_grad():
        model(events, mask=mask)
    values = [events, *[p for p in model.parameters() if p.requires_grad]]

    def forward() -> Any:
        with torch.no_grad():
            return model(events, mask=mask)

    def train() -> Any:
        return torch.autograd.grad(
            model(events, mask=mask, training=True).float().square().sum(), values, allow_unused=True
        )

    return forward, train


def contenders(shape: str, variant: str, with_cell: bool) -> dict[str, Pair]:
    """Name → (forward, training step), ready to be called."""
    batch, steps, features, units = map(int, shape.split("/"))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, steps, features)).astype("float32")
    mask = np.arange(steps) < rng.integers(steps // 2, steps + 1, (batch, 1)) if variant == "masked" else None
    prepare = {"tensorflow": with_tensorflow, "jax": with_jax, "torch": with_torch}[BACKEND]

    def ours(form: str, **options: Any) -> keras.layers.Layer:
        return GateLSTM(units, formulation=form, **options, **(GATES[variant](units, form) if variant in GATES else {}))

    def cell(**options: Any) -> keras.layers.Layer:
        own = GATES[variant](units, "standard") if variant in GATES else {}
        return keras.layers.RNN(GateLSTMCell(units, **own), **options)

    makers = {
        "GateLSTM": partial(ours, "standard"),
        "GateLSTM article": partial(ours, "article"),
        "keras.layers.LSTM": lambda **options: keras.layers.LSTM(units, **options),
    }
    if with_cell:
        makers["RNN(GateLSTMCell)"] = cell
    found = {name: prepare(network(make, variant), x, mask, False) for name, make in makers.items()}
    if BACKEND == "tensorflow" and variant in SAME:
        found["keras.layers.LSTM XLA"] = prepare(network(makers["keras.layers.LSTM"], variant), x, mask, True)
    found = {name: (partial(timed, forward), partial(timed, train)) for name, (forward, train) in found.items()}
    if variant not in ("masked", "mixed_bfloat16"):
        if importlib.util.find_spec("torch") is None:
            print("torch is missing: without torch.nn.LSTM and the bare matmuls")
        else:
            found |= peers.ask(shape, variant)
    return found


def measure(calls: dict[str, Callable], repeats: int, seconds: float) -> dict[str, dict[str, float]]:
    """Milliseconds of each, called in turn `repeats` times or for about `seconds`."""
    first = {}
    for name, call in calls.items():
        start = time.perf_counter()
        wall, _ = call()
        first[name] = time.perf_counter() - start - wall / 1e3
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    until = time.perf_counter() + seconds
    for turn in range(repeats):
        for name, call in calls.items():
            times[name].append(call())
        if time.perf_counter() > until and turn >= 2:
            break
    return {
        name: {
            "wall": float(np.median([wall for wall, _ in taken])),
            "best": float(np.min([wall for wall, _ in taken])),
            "processor": float(np.median([processor for _, processor in taken])),
            "first_call_s": first[name],
        }
        for name, taken in times.items()
    }


def picture(rows: list[dict], path: Path) -> None:
    """Bars: the training step of each contender, Keras' default being 1."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [name for name in rows[0]["train"] if name != "RNN(GateLSTMCell)"]
    figure, axes = plt.subplots(figsize=(11, 4))
    for k, name in enumerate(names):
        heights = [row["train"][name]["wall"] / row["train"]["keras.layers.LSTM"]["wall"] for row in rows]
        axes.bar(np.arange(len(rows)) + k * 0.8 / len(names), heights, 0.8 / len(names), label=name)
    axes.set_xticks(np.arange(len(rows)) + 0.35, [row["shape"] for row in rows], rotation=20)
    axes.set_ylabel("training step / Keras' default")
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.set_ylim(0, 2)
    axes.legend(fontsize=8, ncols=3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def write(path: Path, variant: str, rows: list[dict]) -> None:
    """The rows as JSON, with the machine and the means over the shapes; never half a file."""
    document = {
        "machine": cores.described(cores.machine()),
        "details": cores.machine(),
        "variant": variant,
        "rows": rows,
        "geometric_means": summary(rows),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".part").write_text(json.dumps(document, indent=1))
    path.with_suffix(".part").replace(path)


def show(row: dict) -> None:
    print(f"\n{row['shape']}   load {row['load']:.1f}    forward wall, processor | training step wall, processor (ms)")
    for name in row["forward"]:
        f, t = row["forward"][name], row["train"][name]
        figures = f"{f['wall']:9.2f} {f['processor']:9.2f} | {t['wall']:9.2f} {t['processor']:9.2f}"
        print(f"  {name:26s} {figures}", flush=True)


def run(variant: str, arguments: argparse.Namespace) -> None:
    """Measure a variant at all shapes."""
    rows: list[dict] = []
    path = arguments.out / f"layers_{BACKEND}_{variant}.json"
    for shape in arguments.shapes or (QUICK if arguments.quick else [*GRID, *SHORT]):
        found = contenders(shape, variant, arguments.cell)
        row: dict[str, Any] = {"shape": shape, "load": os.getloadavg()[0]}
        for k, kind in enumerate(("forward", "train")):
            calls = {n: pair[k] for n, pair in found.items()}
            row[kind] = measure(calls, 7 if arguments.quick else arguments.repeats, arguments.seconds)
        rows.append(row)
        show(row)
        write(path, variant, rows)
    print()
    for name, figures in summary(rows).items():
        print(f"{name:50s}", "   ".join(f"{what} {value:.2f}" for what, value in figures.items()))
    if importlib.util.find_spec("matplotlib"):
        picture(rows, path.with_suffix(".png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=None, help="batch/time/features/units")
    parser.add_argument("--variant", nargs="+", choices=("all", *VARIANTS), default=["plain"])
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument(
        "--seconds", type=float, default=4, help="about how long one shape is measured at most, each way"
    )
    parser.add_argument(
        "--threads", type=int, default=None, help="processors that every contender may use (default: all)"
    )
    parser.add_argument("--cell", action="store_true", help="also keras.layers.RNN over GateLSTMCell")
    parser.add_argument("--quick", action="store_true", help="two shapes, few repeats")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    print(cores.described(cores.machine()), flush=True)
    for variant in VARIANTS if "all" in arguments.variant else arguments.variant:
        print(f"\n== {variant}", flush=True)
        run(variant, arguments)


if __name__ == "__main__":
    main()
