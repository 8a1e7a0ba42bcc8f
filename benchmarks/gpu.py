"""How fast a layer runs on a GPU, side by side with `keras.layers.LSTM` and (on PyTorch) `torch.nn.LSTM`, in one interleaved run.

    KERAS_BACKEND=torch python benchmarks/gpu.py      # or jax, tensorflow

Shapes are batch/time/features/units. For every contender: the forward pass, and a training step (the gradients of all
weights and of the input), milliseconds of wall time until the GPU has finished, medians. Writes
`benchmarks/results/gpu_BACKEND.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from ratios import mean

from keras_gates import GateLSTM

SHAPES = [
    "1/100/64/128",
    "32/100/64/128",
    "128/50/128/256",
    "32/400/16/32",
    "64/28/28/64",
    "32/7/12/128",
    "256/100/128/512",
]
BACKEND = keras.backend.backend()
RESULTS = Path(__file__).parent / "results"
Pair = tuple[Callable[[], Any], Callable[[], Any]]


def with_torch(layer: Any, x: np.ndarray) -> Pair:
    """Forward pass and training step of a layer with the PyTorch backend, or of `torch.nn.LSTM`."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    events = torch.tensor(x, device=device, requires_grad=True)

    def outputs() -> torch.Tensor:
        result = layer(events)
        return result[0] if isinstance(result, tuple) else result

    with torch.no_grad():
        outputs()
    values = [events, *[weight for weight in layer.parameters() if weight.requires_grad]]

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def forward() -> None:
        with torch.no_grad():
            outputs()
        wait()

    def train() -> None:
        torch.autograd.grad(outputs().square().sum(), values)
        wait()

    return forward, train


def with_jax(layer: Any, x: np.ndarray) -> Pair:
    """Forward pass and training step, compiled by `jax.jit`."""
    import jax

    layer(x)
    values, fixed = ([v.value for v in vs] for vs in (layer.trainable_variables, layer.non_trainable_variables))

    def outputs(values: list, x: Any) -> Any:
        return layer.stateless_call(values, fixed, x)[0]

    compiled, events = jax.jit(outputs), jax.numpy.asarray(x)
    gradient = jax.jit(jax.grad(lambda values, x: (outputs(values, x) ** 2).sum(), argnums=(0, 1)))
    return (
        lambda: jax.block_until_ready(compiled(values, events)),
        lambda: jax.block_until_ready(gradient(values, events)),
    )


def with_tensorflow(layer: Any, x: np.ndarray) -> Pair:
    """Forward pass and training step in graph mode."""
    import tensorflow as tf

    events = tf.constant(x)
    layer(events)
    values = [variable.value for variable in layer.trainable_variables]

    def train(events: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(events)
            loss = tf.reduce_sum(tf.square(layer(events)))
        return [gradient[..., :1] for gradient in tape.gradient(loss, [events, *values])]

    forward, step = tf.function(layer, autograph=False), tf.function(train, autograph=False)
    return lambda: forward(events)[0, 0, 0].numpy(), lambda: [part.numpy() for part in step(events)]


def contenders(shape: str) -> dict[str, Pair]:
    """Name → (forward, training step), called once already."""
    batch, steps, features, units = map(int, shape.split("/"))
    x = np.random.default_rng(0).normal(size=(batch, steps, features)).astype("float32")
    prepare = {"torch": with_torch, "jax": with_jax, "tensorflow": with_tensorflow}[BACKEND]
    layers = {
        "GateLSTM": GateLSTM(units, return_sequences=True),
        "GateLSTM article": GateLSTM(units, formulation="article", return_sequences=True),
        "keras.layers.LSTM": keras.layers.LSTM(units, return_sequences=True),
    }
    pairs = {name: prepare(layer, x) for name, layer in layers.items()}
    if BACKEND == "torch":
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        pairs["torch.nn.LSTM"] = prepare(torch.nn.LSTM(features, units, batch_first=True).to(device), x)
    for name in ("GateLSTM", "GateLSTM article"):
        print(f"{shape} {name}: {layers[name].explain(batch=batch, time=steps)}".splitlines()[0], flush=True)
    return pairs


def milliseconds(calls: dict[str, Callable[[], Any]], repeats: int, seconds: float) -> dict[str, float]:
    """The median of each, called in turn `repeats` times or for about `seconds`."""
    for call in calls.values():
        call()
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    until = time.perf_counter() + seconds
    for turn in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
        if time.perf_counter() > until and turn >= 4:
            break
    return {name: float(np.median(values)) for name, values in times.items()}


def gpu() -> str:
    """The name of the GPU, or "no GPU"."""
    if BACKEND == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    if BACKEND == "jax":
        import jax

        return jax.devices()[0].device_kind
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(devices[0])["device_name"] if devices else "no GPU"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="batch/time/features/units")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=4, help="about how long one shape and direction is measured")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for shape in arguments.shapes:
        pairs = contenders(shape)
        row: dict[str, Any] = {"shape": shape}
        for k, kind in enumerate(("forward", "train")):
            row[kind] = milliseconds(
                {name: pair[k] for name, pair in pairs.items()}, arguments.repeats, arguments.seconds
            )
            print(f"  {kind:8s}", "   ".join(f"{name} {value:.2f}" for name, value in row[kind].items()), flush=True)
        rows.append(row)
        names = list(rows[0]["forward"])
        means = {
            f"{name} / keras.layers.LSTM": {
                kind: mean([row[kind][name] / row[kind]["keras.layers.LSTM"] for row in rows])
                for kind in ("forward", "train")
            }
            for name in names
            if name != "keras.layers.LSTM"
        }
        document = {
            "machine": f"{gpu()}, Keras {keras.__version__}, backend {BACKEND}",
            "rows": rows,
            "geometric_means": means,
        }
        path = arguments.out / f"gpu_{BACKEND}.json"
        path.with_suffix(".part").write_text(json.dumps(document, indent=1))
        path.with_suffix(".part").replace(path)
    for name, figures in means.items():
        print(f"{name:40s}", "   ".join(f"{kind} {value:.2f}" for kind, value in figures.items()))


if __name__ == "__main__":
    main()
