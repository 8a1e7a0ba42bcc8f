"""How long a model of `show` remembers: its accuracy, and the gradient that reaches the clue, by how many frames ago
the clue was seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras_gates.models.registry import Judgement

LAGS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 25, 30, 40, 50, 60)
COUNT = 400
LOST = 0.75
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


def accuracy(model: Any, data: Any, lags: Sequence[int] = LAGS, count: int = COUNT) -> list[float]:
    """The share of `count` test shows answered rightly, for each lag; 0.5 is guessing."""
    found = []
    for lag in lags:
        x, y = data.at("test", lag, count)
        found.append(float(((model.predict(x, batch_size=100, verbose=0)[:, 0] > 0.5) == y).mean()))
    return found


def gradient(model: Any, data: Any, lags: Sequence[int] = LAGS, count: int = 100) -> list[float]:
    """For each lag: the length of the derivative of the answer's log-odds by what the eye saw of the clue, mean over
    shows.

    What training could change about the clue's frame is in proportion to it: where it is nothing, nothing can be
    learned.
    """
    import keras
    import tensorflow as tf

    memory, answer = model.get_layer("memory"), model.get_layer("wolf")
    eye = keras.Model(model.input, model.get_layer("events").output)
    if eye.output.shape[1] == 1:
        return [0.0] * len(lags)
    found = []
    for lag in lags:
        events = tf.convert_to_tensor(eye.predict(data.at("test", lag, count)[0], batch_size=100, verbose=0))
        with tf.GradientTape() as tape:
            tape.watch(events)
            log_odds = tf.matmul(memory(events), answer.kernel) + answer.bias
        reached = tape.gradient(log_odds, events)[:, -1 - lag]
        found.append(float(tf.reduce_mean(tf.norm(reached, axis=-1))))
    return found


def lost_at(accuracies: Sequence[float], lags: Sequence[int] = LAGS) -> int | None:
    """The first lag at which fewer than 75 % are right; None where there is none."""
    return next((lag for lag, right in zip(lags, accuracies) if right < LOST), None)


def judge(model: Any, data: Any, folder: Path) -> Judgement:
    """The accuracy on the test shows and by lag, and a picture of some shows with what the model says."""
    measured = model.evaluate(data.held_out("test", 100), return_dict=True, verbose=0)
    by_lag = accuracy(model, data)
    scores = {"accuracy": measured["accuracy"], f"accuracy_lag_{LAGS[-1]}": by_lag[-1], "loss": measured["loss"]}
    draw_lags({"this model": by_lag}, folder / "lags.png")
    draw_shows(model, data, folder / "shows.png")
    lost = lost_at(by_lag)
    told = f"falls under {LOST:.0%} at a lag of {lost}" if lost else f"stays above {LOST:.0%} up to {LAGS[-1]} frames"
    return Judgement(
        {name: float(value) for name, value in scores.items()},
        [
            ("shows.png", "Test shows: the clue is framed; the last picture alone decides nothing."),
            ("lags.png", "Accuracy by how many frames ago the clue was seen."),
        ],
        [f"Guessing would be 50 %. This model {told}."],
    )


def compare(config: Mapping[str, Any], folder: Path, verbose: int) -> Judgement:
    """Trains all `CONTENDERS` by the same recipe on the same shows, and measures both things by lag.

    Goes on where `folder` stops: what is trained there is not trained again.
    """
    from keras_gates.models.registry import find
    from keras_gates.models.training import fitting

    zoo = find("show")
    data = zoo.data(config["data"], config["data_dir"], config["seed"], **config["data_arguments"])
    right, reached, at_first, weights, best = {}, {}, {}, {}, None
    for name, contender in CONTENDERS.items():
        fitting.set_seed(config["seed"])
        model = zoo.build(**{**config["build"], **data.build, **contender})
        print(f"\n{name}: {model.count_params():,} weights")
        at_first[name] = gradient(model, data)
        place = folder / re.sub(r"\W+", "-", name.lower())
        place.mkdir(exist_ok=True)
        trained = place / "model.keras"
        if trained.exists():
            model.load_weights(trained)
        else:
            fitting.fit(zoo, model, data, config["recipe"], config["seed"], place, verbose).clean()
            model.save(trained)
        right[name], reached[name], weights[name] = accuracy(model, data), gradient(model, data), model.count_params()
        best = best or model  # the first contender answers the shows that are drawn
    draw_comparison(best, data, right, reached, folder / "comparison.png")
    return Judgement(
        {f"{name}, lag {lag}": value for name in right for lag, value in zip(LAGS, right[name])}
        | {f"{name}, gradient at lag {lag}": value for name in right for lag, value in zip(LAGS, reached[name])},
        [("comparison.png", "Left: accuracy by lag, 50 % is guessing. Right: the gradient that reaches the clue.")],
        _table(right, reached, at_first, weights, config),
    )


def _table(right: dict, reached: dict, at_first: dict, weights: dict, config: Mapping[str, Any]) -> list[str]:
    steps = config["recipe"]["epochs"] * config["data_arguments"].get("steps", 100)
    heads = ["", "weights", "lag 1", "lag 10", "lag 30", "lag 60", f"falls under {LOST:.0%} at"]
    heads += ["gradient, lag 1", "lag 60", "lag 60, untrained"]
    lines = [
        f"The same {steps} steps of {config['recipe']['batch_size']} shows, the same recipe, seed {config['seed']}, for "
        f"all; {COUNT} test shows a lag. The LSTMs start with biases that span the lags (`span`, docs/show.md).",
        "",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
    ]
    for name, found in right.items():
        shown = " | ".join(f"{found[LAGS.index(lag)]:.1%}" for lag in (1, 10, 30, 60))
        lost = lost_at(found)
        felt = " | ".join(f"{value:.1e}" for value in (reached[name][0], reached[name][-1], at_first[name][-1]))
        lines.append(f"| {name} | {weights[name]:,} | {shown} | {lost or 'not up to 60'} | {felt} |")
    return lines


def draw_lags(right: Mapping[str, Sequence[float]], path: Path) -> None:
    """One line a model: accuracy by lag."""
    from matplotlib.figure import Figure

    figure = Figure((6, 3.4), layout="constrained")
    _accuracy_panel(figure.add_subplot(), right)
    figure.savefig(path, dpi=110)


def draw_shows(model: Any, data: Any, path: Path) -> None:
    """Four test shows with the clue framed, and what the model says."""
    from matplotlib.figure import Figure

    lags = (4, 15, 30, 60)
    figure = Figure((10, 4.4), layout="constrained")
    for axes, lag in zip(figure.subplots(len(lags), 1), lags):
        _show_panel(axes, model, data, lag)
    figure.savefig(path, dpi=110)


def draw_comparison(model: Any, data: Any, right: Mapping, reached: Mapping, path: Path) -> None:
    """Two shows above; accuracy and gradient by lag below."""
    from matplotlib.figure import Figure

    figure = Figure((10, 6.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(2.2, 4.2))
    for axes, lag in zip(above.subplots(2, 1), (4, 60)):
        _show_panel(axes, model, data, lag)
    left, other = below.subplots(1, 2)
    _accuracy_panel(left, right)
    for name, values in reached.items():
        if max(values) > 0:
            _line(other, name, values)
    other.set(yscale="log", xlabel="frames since the clue", title="gradient that reaches the clue")
    other.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _accuracy_panel(axes: Any, right: Mapping[str, Sequence[float]]) -> None:
    for name, values in right.items():
        _line(axes, name, np.array(values) * 100)
    axes.axhline(50, color="grey", linewidth=1, linestyle=":")
    axes.set(ylim=(30 if len(right) > 1 else 40, 102), xlabel="frames since the clue", title="right answers, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower center", ncols=1 if len(right) == 1 else 2, fontsize=8)


def _line(axes: Any, name: str, values: Sequence[float]) -> None:
    colour, style = STYLES.get(name, ("#1b4f72", "-"))
    axes.plot(LAGS, values, marker=".", color=colour, linestyle=style, label=name)


def _show_panel(axes: Any, model: Any, data: Any, lag: int) -> None:
    x, y = data.at("test", lag, 1, seed=3)
    frames, size = x[0].astype("uint8"), x.shape[2]
    clue, last = len(frames) - 1 - lag, len(frames) - 1
    dots = lag > SLOTS - 2
    hidden = range(clue + 5, last - 4) if dots else ()
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
    says = f"{data.labels[wolf > 0.5]} {max(wolf, 1 - wolf):.0%}"
    told = f"{lag} frames ago · truth: {data.labels[y[0]]} · the model says: {says}"
    axes.set_title(told, fontsize=9, loc="left")
    axes.axis("off")


def _frame(left: float, size: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((left - 0.5, -0.5), size, size, fill=False, edgecolor=colour, linewidth=2.5, clip_on=False)
