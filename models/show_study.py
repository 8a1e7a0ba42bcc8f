"""How long a model of `show` remembers: accuracy, and gradient with respect to the clue, by lag: how many frames before the
last one the clue was shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from keras_gates.models.data.shows import Shows
from keras_gates.models.lazy import keras, tf
from keras_gates.models.registry import Judgement, find
from keras_gates.models.training import fitting
from keras_gates.models.training.run_config import RunConfig

LAGS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 25, 30, 40, 50, 60)
COUNT = 400
FORGOTTEN = 0.75  # accuracy under which a clue counts as forgotten; 0.5 is guessing
CONTENDERS = {
    "LSTM, standard": {"memory": "lstm", "formulation": "standard"},
    "LSTM, article": {"memory": "lstm", "formulation": "article"},
    "RNN, tanh": {"memory": "rnn", "squash": "tanh"},
    "RNN, sigmoid": {"memory": "rnn", "squash": "sigmoid"},
    "no memory": {"memory": "none"},
    "RNN, tanh, orthogonal start": {"memory": "rnn", "squash": "tanh", "start": "orthogonal"},
}
SLOTS, GAP = 12, 2  # pictures in a strip, and white columns between them
STYLES = {
    "no memory": ("#8d99ae", "-"),
    "RNN, sigmoid": ("#f4a259", "-"),
    "RNN, tanh": ("#d1495b", "-"),
    "RNN, tanh, orthogonal start": ("#d1495b", ":"),
    "LSTM, article": ("#3a9ad9", "-"),
    "LSTM, standard": ("#1b4f72", "-"),
}


def accuracy(model: Any, data: Shows, lags: Sequence[int] = LAGS, count: int = COUNT) -> list[float]:
    """Return the accuracy over `count` test shows for each lag."""
    accuracies = []
    for lag in lags:
        x, y = data.at("test", lag, count)
        accuracies.append(float(((model.predict(x, batch_size=100, verbose=0)[:, 0] > 0.5) == y).mean()))
    return accuracies


def gradient(model: Any, data: Shows, lags: Sequence[int] = LAGS, count: int = 100) -> list[float]:
    """Return, for each lag, the norm of the gradient of the output's log-odds with respect to the clue's event (the eye's
    output at that frame), averaged over shows.

    Every weight update that the clue's frame causes is proportional to it: where it vanishes, nothing can be learned.
    """
    memory, answer = model.get_layer("memory"), model.get_layer("wolf")
    eye = keras.Model(model.input, model.get_layer("events").output)
    if eye.output.shape[1] == 1:
        return [0.0] * len(lags)
    norms = []
    for lag in lags:
        events = tf.convert_to_tensor(eye.predict(data.at("test", lag, count)[0], batch_size=100, verbose=0))
        with tf.GradientTape() as tape:
            tape.watch(events)
            log_odds = tf.matmul(memory(events), answer.kernel) + answer.bias
        at_clue = tape.gradient(log_odds, events)[:, -1 - lag]
        norms.append(float(tf.reduce_mean(tf.norm(at_clue, axis=-1))))
    return norms


def first_forgotten_lag(accuracies: Sequence[float], lags: Sequence[int] = LAGS) -> int | None:
    """Return the first lag with an accuracy under 75 %; None if there is none."""
    return next((lag for lag, value in zip(lags, accuracies) if value < FORGOTTEN), None)


def judge(model: Any, data: Shows, folder: Path) -> Judgement:
    """Evaluate a model on the test shows, overall and by lag, and draw some shows with the model's predictions.

    Args:
        model: a compiled model of `show`.
        data: its data.
        folder: for the pictures.
    """
    metrics = model.evaluate(data.held_out("test", 100), return_dict=True, verbose=0)
    by_lag = accuracy(model, data)
    scores = {"accuracy": metrics["accuracy"], f"accuracy_lag_{LAGS[-1]}": by_lag[-1], "loss": metrics["loss"]}
    draw_lags({"this model": by_lag}, folder / "lags.png")
    draw_shows(model, data, folder / "shows.png")
    forgotten = first_forgotten_lag(by_lag)
    memory = (
        f"falls under {FORGOTTEN:.0%} at lag {forgotten}"
        if forgotten
        else f"stays above {FORGOTTEN:.0%} up to lag {LAGS[-1]}"
    )
    return Judgement(
        {name: float(value) for name, value in scores.items()},
        [
            (
                "shows.png",
                "Test shows: green frame: the clue; red frame: the last picture, which does not determine the class.",
            ),
            ("lags.png", "Accuracy by lag: how many frames before the last one the clue was shown."),
        ],
        [f"Guessing gives 50 %. The accuracy of this model {memory}."],
    )


def compare(config: RunConfig, folder: Path, verbose: int) -> Judgement:
    """Train all `CONTENDERS` with the same recipe on the same shows, and measure accuracy and gradient by lag.

    Args:
        config: of the run.
        folder: of the run; models that an interrupted comparison has trained there are not trained again.
        verbose: as in `keras.Model.fit`.
    """
    zoo = find("show")
    data = zoo.data(config.data, config.data_dir, config.seed, **config.data_arguments)
    accuracies, gradients, untrained, weights = {}, {}, {}, {}
    first = None  # the first contender predicts the shows that are drawn
    for name, contender in CONTENDERS.items():
        fitting.set_seed(config.seed)
        model = zoo.build(**{**config.build, **data.build, **contender})
        print(f"\n{name}: {model.count_params():,} weights")
        untrained[name] = gradient(model, data)
        place = folder / re.sub(r"\W+", "-", name.lower())
        place.mkdir(exist_ok=True)
        trained = place / "model.keras"
        if trained.exists():
            model.load_weights(trained)
        else:
            fitting.fit(zoo, model, data, config.recipe, config.seed, place, verbose).clean(place)
            model.save(trained)
        accuracies[name], gradients[name], weights[name] = (
            accuracy(model, data),
            gradient(model, data),
            model.count_params(),
        )
        first = first or model
    draw_comparison(first, data, accuracies, gradients, folder / "comparison.png")
    return Judgement(
        {f"{name}, lag {lag}": value for name in accuracies for lag, value in zip(LAGS, accuracies[name])}
        | {f"{name}, gradient at lag {lag}": value for name in gradients for lag, value in zip(LAGS, gradients[name])},
        [("comparison.png", "Left: accuracy by lag, 50 % is guessing. Right: gradient with respect to the clue.")],
        _table(accuracies, gradients, untrained, weights, config),
    )


def _table(accuracies: dict, gradients: dict, untrained: dict, weights: dict, config: RunConfig) -> list[str]:
    steps = config.recipe["epochs"] * config.data_arguments.get("steps", 100)
    heads = ["", "weights", "lag 1", "lag 10", "lag 30", "lag 60", f"falls under {FORGOTTEN:.0%} at"]
    heads += ["gradient, lag 1", "lag 60", "lag 60, untrained"]
    lines = [
        f"All models: {steps} steps with batch size {config.recipe['batch_size']}, the same recipe, seed {config.seed}; "
        f"{COUNT} test shows per lag. The LSTMs' biases are initialised for these lags (`span`, docs/show.md).",
        "",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
    ]
    for name, by_lag in accuracies.items():
        shown = " | ".join(f"{by_lag[LAGS.index(lag)]:.1%}" for lag in (1, 10, 30, 60))
        forgotten = first_forgotten_lag(by_lag) or "not up to 60"
        norms = " | ".join(f"{value:.1e}" for value in (gradients[name][0], gradients[name][-1], untrained[name][-1]))
        lines.append(f"| {name} | {weights[name]:,} | {shown} | {forgotten} | {norms} |")
    return lines


def draw_lags(accuracies: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw accuracy by lag, one line per model."""
    figure = Figure((6, 3.4), layout="constrained")
    _accuracy_panel(figure.add_subplot(), accuracies)
    figure.savefig(path, dpi=110)


def draw_shows(model: Any, data: Shows, path: Path) -> None:
    """Draw four test shows with the clue framed and the model's prediction."""
    lags = (4, 15, 30, 60)
    figure = Figure((10, 4.4), layout="constrained")
    for axes, lag in zip(figure.subplots(len(lags), 1), lags):
        _show_panel(axes, model, data, lag)
    figure.savefig(path, dpi=110)


def draw_comparison(model: Any, data: Shows, accuracies: Mapping, gradients: Mapping, path: Path) -> None:
    """Draw two shows; below them accuracy and gradient by lag."""
    figure = Figure((10, 6.4), layout="constrained")
    panels: Any = figure.subfigures(2, 1, height_ratios=(2.2, 4.2))
    above, below = panels
    for axes, lag in zip(above.subplots(2, 1), (4, 60)):
        _show_panel(axes, model, data, lag)
    left, other = below.subplots(1, 2)
    _accuracy_panel(left, accuracies)
    for name, values in gradients.items():
        if max(values) > 0:
            _line(other, name, values)
    other.set(yscale="log", xlabel="frames since the clue", title="gradient with respect to the clue")
    other.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _accuracy_panel(axes: Any, accuracies: Mapping[str, Sequence[float]]) -> None:
    for name, values in accuracies.items():
        _line(axes, name, [100 * value for value in values])
    axes.axhline(50, color="grey", linewidth=1, linestyle=":")
    axes.set(ylim=(30 if len(accuracies) > 1 else 40, 102), xlabel="frames since the clue", title="accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower center", ncols=1 if len(accuracies) == 1 else 2, fontsize=8)


def _line(axes: Any, name: str, values: Sequence[float]) -> None:
    colour, style = STYLES.get(name, ("#1b4f72", "-"))
    axes.plot(LAGS, values, marker=".", color=colour, linestyle=style, label=name)


def _show_panel(axes: Any, model: Any, data: Shows, lag: int) -> None:
    x, y = data.at("test", lag, 1, seed=3)
    frames, size = x[0].astype("uint8"), x.shape[2]
    clue, last = len(frames) - 1 - lag, len(frames) - 1
    dots = lag > SLOTS - 2
    hidden = range(clue + 5, last - 4) if dots else range(0)
    first = clue - 1 if dots else last - SLOTS + 1
    places = [place for place in range(max(0, first), last + 1) if place not in hidden]
    strip = np.full((size, (size + GAP) * SLOTS, 3), 255, "uint8")
    at, left = {}, 0
    for place in places:
        if dots and place == hidden.stop:
            axes.text(left + size / 2, size / 2, f"⋯ {len(hidden)} ⋯", ha="center", va="center", fontsize=9)
            left += size + GAP
        strip[:, left : left + size] = frames[place]
        at[place] = left
        left += size + GAP
    axes.imshow(strip, interpolation="nearest")
    for place, colour in ((clue, "#2a9d3a"), (last, "#d1495b")):
        axes.add_patch(_frame(at[place] - 1, size + 1, colour))
    wolf = float(model.predict(x, verbose=0)[0, 0])
    predicted = f"{data.labels[wolf > 0.5]} {max(wolf, 1 - wolf):.0%}"
    title = f"clue {lag} frames before the end · actual: {data.labels[y[0]]} · predicted: {predicted}"
    axes.set_title(title, fontsize=9, loc="left")
    axes.axis("off")


def _frame(left: float, size: float, colour: str) -> Any:
    return Rectangle((left - 0.5, -0.5), size, size, fill=False, edgecolor=colour, linewidth=2.5, clip_on=False)
