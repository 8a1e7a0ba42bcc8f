"""Random recurrent models with data and export options that fit them; the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

import keras_gates
from keras_gates import GateLSTM, GateLSTMCell
from keras_gates.exporting.model_inputs import inputs_of
from keras_gates.exporting.verify import compare
from keras_gates.exporting.verify.samples import samples_of

STEPS = 8


@dataclass
class Case:
    """A model, inputs `(samples, …)` to calibrate with, other inputs to judge by, and what to ask of `export`.

    Several inputs are a tuple.
    """

    text: str
    model: keras.Model
    calibration: Any
    fresh: Any
    options: dict[str, Any]


def random_case(seed: int) -> Case:
    """Stacks of one to three recurrent layers of several kinds, directions, masks, precisions, modes, targets."""
    draw = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    target = str(draw.choice(["cpu", "cpu", "micro"]))
    mode = str(draw.choice(["sequence", "sequence", "stream"]))
    precision = str(draw.choice(["float32", "int8", "int16x8"] + (["dynamic", "float16"] if target == "cpu" else [])))
    source = str(draw.choice(["events", "events", "masked", "tokens", "frames"]))
    if source in ("tokens", "masked") and precision == "int16x8" and target == "micro":
        precision = "int8"  # TFLM has no GATHER in 16 bits, which tokens and lengths need
    if mode == "stream" and source in ("masked", "tokens"):
        source = "events"
    open_time = source != "frames" and bool(draw.integers(2))
    inputs, x = _source(source, None if open_time else STEPS, draw)
    words = [f"{seed}: {source}"]
    depth = int(draw.integers(1, 4))
    for level in range(depth):
        last = level == depth - 1
        x, word = recurrent(x, draw, sequences=not last or bool(draw.integers(2)), causal=mode == "stream")
        words.append(word)
        if not last and draw.integers(4) == 0:
            x = (
                layers.LayerNormalization()(x)
                if precision in ("float32", "dynamic") and target == "cpu"
                else layers.Dropout(0.2)(x)
            )
    head = layers.Dense(int(draw.integers(2, 5)), activation=str(draw.choice(["linear", "softmax"])))
    model = keras.Model(inputs, head(x), name=f"random_{seed}")
    data = _data(source, draw, 72)
    options = {"precision": precision, "mode": mode, "target": target, "calibration": data[:60]}
    words += [precision, mode, target]
    return Case(", ".join(words), model, data[:60], data[60:], options)


def _source(kind: str, steps: int | None, draw: np.random.Generator) -> tuple[Any, Any]:
    if kind == "tokens":
        inputs = keras.Input((steps,), dtype="int32")
        return inputs, layers.Embedding(15, int(draw.integers(3, 9)), mask_zero=True)(inputs)
    if kind == "frames":
        inputs = keras.Input((None, 6, 6, 1))
        frame = keras.Sequential([layers.Conv2D(3, 3, activation="relu"), layers.Flatten()])
        return inputs, layers.TimeDistributed(frame)(inputs)
    inputs = keras.Input((steps, 5))
    return inputs, layers.Masking()(inputs) if kind == "masked" else inputs


def recurrent(x: Any, draw: np.random.Generator, *, sequences: bool, causal: bool) -> tuple[Any, str]:
    """Return the output of a random recurrent layer for `x`, and its description."""
    units = int(draw.integers(3, 10))
    kind = str(
        draw.choice(
            ["LSTM", "GateLSTM", "RNN", "stacked", "article", "custom", "GRU"],
            p=[0.25, 0.25, 0.15, 0.1, 0.1, 0.1, 0.05],
        )
    )
    backwards = not causal and bool(draw.integers(4) == 0)
    options = {"return_sequences": sequences, "go_backwards": backwards}
    made = {
        "LSTM": lambda: layers.LSTM(units, **options, use_bias=bool(draw.integers(4))),
        "GateLSTM": lambda: GateLSTM(units, **options),
        "RNN": lambda: layers.RNN(GateLSTMCell(units), **options),
        "stacked": lambda: layers.RNN([layers.LSTMCell(units), GateLSTMCell(4)], **options),
        "article": lambda: GateLSTM(units, formulation="article", **options),
        "custom": lambda: GateLSTM(units, forget=keras_gates.CoupledForgetGate(units), **options),
        "GRU": lambda: layers.GRU(units, **options),
    }[kind]()
    both = not causal and not backwards and bool(draw.integers(3) == 0)
    if both:
        mode = [None, "concat", "sum", "ave", "mul"][int(draw.integers(5))]
        made = layers.Bidirectional(made, merge_mode=mode or "concat")
    return made(x), f"{kind}({units}){' backwards' if backwards else ''}{' both ways' if both else ''}"


def _data(kind: str, draw: np.random.Generator, count: int) -> np.ndarray:
    if kind == "frames":
        return draw.normal(size=(count, STEPS, 6, 6, 1)).astype("float32")
    if kind == "tokens":
        data = draw.integers(1, 15, size=(count, STEPS))
    else:
        data = draw.normal(size=(count, STEPS, 5)).astype("float32")
    if kind in ("tokens", "masked"):
        lengths = draw.integers(0, STEPS + 1, size=count)
        real = np.arange(STEPS) < lengths[:, None]
        data = np.where(real.reshape(real.shape + (1,) * (data.ndim - 2)), data, 0)
    return data.astype("int32" if kind == "tokens" else "float32")


def judged(case: Case, folder: Any) -> tuple[keras_gates.ExportReport, float, float]:
    """Export, open the file with `EdgeModel`, and compare with Keras on inputs that the export has not seen.

    Returns:
        The report, the mean difference, and what the precision allows. Fused 16-bit files run in TFLM alone: there the export's
        own comparison on held-out samples counts.
    """
    report = keras_gates.export(case.model, folder, ("tflite",), **case.options)
    if "fused" in report.lowering and report.precision == "int16x8":
        return report, report.mean_difference, report.tolerance
    file, x, inputs = keras_gates.EdgeModel(f"{folder}/model.tflite"), case.fresh, inputs_of(case.model)
    fed, count = x, len(x[0]) if isinstance(x, tuple) else len(x)
    if isinstance(x, tuple):
        fed = {port.name: each for port, each in zip(inputs.ports, x)}
    elif file.description.hears:
        fed = np.stack([file.events(each) for each in x])
    elif x.dtype.kind == "U":
        fed = x.tolist()
    got = file.predict(fed)
    got = list(got.values()) if isinstance(got, dict) else [got]
    got = [[column[i : i + 1] for column in got] for i in range(count)]
    if not isinstance(x, tuple) and x.dtype.kind == "U":
        wanted = [[np.asarray(case.model(keras.ops.convert_to_tensor(x[i : i + 1], "string")))] for i in range(count)]
        worst = compare.compare(wanted, got, report.precision).worst
        return report, worst.mean, worst.wrong
    wanted = compare.keras_outputs(case.model, inputs, samples_of(x, inputs))
    worst = compare.compare(wanted, got, report.precision).worst
    if not worst.acceptable:  # Keras' own rounding takes seconds to measure
        rounding = compare.rounding_of(case.model, inputs, samples_of(x, inputs), wanted)
        worst = compare.compare(wanted, got, report.precision, (), rounding).worst
    return report, worst.mean, worst.wrong
