"""The tables of docs/performance.md and of the README's Speed section, made of the JSON files in benchmarks/results.

    python benchmarks/tables.py          # puts each between its `<!-- table: NAME -->` and `<!-- end -->`

The JSON files are written by `benchmarks/layers.py` and `benchmarks/fit.py`. A table whose file is missing is left out.
"""

from __future__ import annotations

import json
import re
import shutil
from itertools import product
from pathlib import Path
from typing import Any

from ratios import RATIOS as SIDES
from ratios import mean, ratio, summary

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [ROOT / "docs" / "performance.md", ROOT / "README.md"]
PICTURE = "layers_tensorflow_plain.png"  # copied, because the site can show only what is in docs/
PLACE = re.compile(r"(<!-- table: (?P<name>[a-z_]+) -->\n).*?(<!-- end -->)", re.DOTALL)

RATIOS = {
    "GateLSTM / Keras' default": "GateLSTM in graph mode, as `fit` runs it / Keras' default",
    "GateLSTM / Keras at its best": "GateLSTM in graph mode / the better of Keras' graph mode and XLA",
    "GateLSTM XLA / Keras XLA": "GateLSTM under XLA / Keras under XLA",
    "GateLSTM at its best / Keras at its best": "the better GateLSTM / the better Keras",
    "GateLSTM / torch.nn.LSTM at its best": "GateLSTM in graph mode / `torch.nn.LSTM` (the better of all threads and one)",
    "GateLSTM at its best / torch.nn.LSTM at its best": "the better GateLSTM / `torch.nn.LSTM`",
    "article / standard": "article form / standard form, graph mode",
}
SHORT = ["GateLSTM / Keras' default", "GateLSTM at its best / Keras at its best"]
SHORT += ["GateLSTM / torch.nn.LSTM at its best", "article / standard"]
COLUMNS = {
    "GateLSTM": "GateLSTM",
    "GateLSTM XLA": "GateLSTM XLA",
    "GateLSTM article": "article",
    "RNN(GateLSTMCell)": "RNN(GateLSTMCell)",
    "keras.layers.LSTM": "Keras",
    "keras.layers.LSTM XLA": "Keras XLA",
    "torch.nn.LSTM": "torch.nn.LSTM",
    "torch.nn.LSTM, one thread": "the same, one thread",
    "bare matmuls": "bare matmuls (PyTorch)",
}
KINDS = ("forward", "train")
LARGE = ("32/100/64/128", "128/50/128/256")
MODELS = ["GateLSTM", "GateLSTM article", "keras.layers.LSTM", "keras.layers.LSTM XLA"]
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
VARIANTS = {
    "plain": "",
    "last": "only the last output",
    "masked": "masked, right-padded",
    "stacked": "two layers",
    "bidirectional": "Bidirectional",
    "mixed_bfloat16": "mixed_bfloat16",
}


def read(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows]) + "\n"


def means(document: dict, names: dict[str, str]) -> str:
    """Geometric means over the shapes: wall time, and processor time of all threads."""
    head = [f"geometric mean over {len(document['rows'])} shapes", "forward", "training step"]
    head += ["forward, processor time", "training step, processor time"]
    kinds = ("forward wall", "train wall", "forward processor", "train processor")
    found = summary(document["rows"])
    return table(
        head, [[text, *[f"{found[name][kind]:.2f}" for kind in kinds]] for name, text in names.items() if name in found]
    )


def shapes(document: dict, by: str) -> str:
    """Milliseconds of every contender at every shape, forward / training step."""
    names = [name for name in COLUMNS if name in document["rows"][0]["forward"]]
    rows = [
        [row["shape"], *[" / ".join(f"{row[kind][name][by]:.1f}" for kind in ("forward", "train")) for name in names]]
        for row in document["rows"]
    ]
    return table(["batch/time/features/units", *[COLUMNS[name] for name in names]], rows)


def variants() -> str:
    """One row a variant or backend: ratios, forward / training step."""
    names = {
        "GateLSTM / Keras' default": "GateLSTM / Keras' default",
        "GateLSTM at its best / Keras at its best": "better / better",
        "GateLSTM / torch.nn.LSTM at its best": "GateLSTM / `torch.nn.LSTM`",
        "article / standard": "article / standard",
    }
    rows = []
    for backend, variant in product(BACKENDS, VARIANTS):
        document = read(f"layers_{backend}_{variant}")
        if document is None or (backend, variant) == ("tensorflow", "plain"):
            continue
        found = summary(document["rows"])
        cells = [
            f"{found[name]['forward wall']:.2f} / {found[name]['train wall']:.2f}" if name in found else ""
            for name in names
        ]
        text = ", ".join(filter(None, [BACKENDS[backend], VARIANTS[variant]]))
        rows.append([text, str(len(document["rows"])), *cells, slowest(document)])
    return table(
        ["forward / training step", "shapes", *names.values(), "slowest training step against Keras' default"], rows
    )


def slowest(document: dict) -> str:
    """The shape where GateLSTM's training step comes off worst against Keras' default."""
    found = [
        (row["train"]["GateLSTM"]["wall"] / row["train"]["keras.layers.LSTM"]["wall"], row["shape"])
        for row in document["rows"]
    ]
    return "{:.2f} at {}".format(*max(found))


def fit(rows: list[dict]) -> str:
    """Seconds of an epoch."""
    cells = []
    for row in rows:
        ours, keras = row["models"]["GateLSTM"], row["models"]["keras.layers.LSTM"]
        cells.append(
            [row["shape"]]
            + [f"{row['models'][name]['wall']:.2f}" for name in MODELS if name in row["models"]]
            + [f"{ours[by] / keras[by]:.2f}" for by in ("wall", "processor")]
            + [f"{ours['first_wall']:.1f} / {keras['first_wall']:.1f}"]
        )
    ratios = [
        mean([row["models"]["GateLSTM"][by] / row["models"]["keras.layers.LSTM"][by] for row in rows])
        for by in ("wall", "processor")
    ]
    used = [name for name in MODELS if name in rows[0]["models"]]
    cells.append(["geometric mean", *[""] * len(used), *[f"{value:.2f}" for value in ratios], ""])
    head = ["seconds of a steady epoch", *[COLUMNS[name] for name in used]]
    return table([*head, "GateLSTM / Keras", "the same, processor time", "first epoch, GateLSTM / Keras"], cells)


def memory(rows: list[dict]) -> str:
    used = [name for name in MODELS if name in rows[0]["models"]]
    cells = [[row["shape"], *[f"{row['models'][name]['added_MB']:.0f}" for name in used]] for row in rows]
    return table(["MB that three epochs add at the peak", *[COLUMNS[name] for name in used]], cells)


def goals() -> str:
    """What was asked for and what the results say: wall time, the better of graph mode and XLA where it says "at its best"."""
    plain, rows = read("layers_tensorflow_plain"), []
    if plain:
        found = summary(plain["rows"])
        best, default = found["GateLSTM at its best / Keras at its best"], "GateLSTM / Keras' default"
        peer, article = found.get("GateLSTM at its best / torch.nn.LSTM at its best"), found["article / standard"]
        worst = max(
            (ratio(row, kind, "wall", *SIDES[default]), f"{row['shape']} {kind}")
            for row in plain["rows"]
            for kind in KINDS
        )
        rows += [
            ("must: training step, at its best / Keras at its best", 0.5, best["train wall"], ""),
            ("must: forward, at its best / Keras at its best", 0.8, best["forward wall"], ""),
            ("must: no shape slower than Keras' default", 1.0, worst[0], worst[1]),
            ("must: article / standard", 1.35, max(article["forward wall"], article["train wall"]), "TensorFlow"),
        ]
    for backend in ("jax", "torch"):
        if document := read(f"layers_{backend}_plain"):
            article = summary(document["rows"])["article / standard"]
            worst_kind = max(article["forward wall"], article["train wall"])
            rows.append(("must: article / standard", 1.35, worst_kind, f"{backend}, {len(document['rows'])} shapes"))
    if epochs := read("fit_tensorflow"):
        wall = mean([row["models"]["GateLSTM"]["wall"] / row["models"]["keras.layers.LSTM"]["wall"] for row in epochs])
        rows.append(("must: `fit`, GateLSTM / Keras", 0.65, wall, f"{len(epochs)} shapes"))
    for row in read("memory_tensorflow") or []:
        models = row["models"]
        share = models["GateLSTM"]["added_MB"] / models["keras.layers.LSTM"]["added_MB"]
        rows.append(("must: peak memory of training / Keras'", 1.0, share, row["shape"]))
    if plain:
        rows += [
            ("to conquer: training step, at its best / Keras at its best", 0.4, best["train wall"], ""),
            ("to conquer: forward, at its best / Keras at its best", 0.6, best["forward wall"], ""),
        ]
        if peer:
            rows += [
                ("to conquer: training step / `torch.nn.LSTM`", 1.0, peer["train wall"], "at its best"),
                ("to conquer: forward / `torch.nn.LSTM`", 1.0, peer["forward wall"], "at its best"),
            ]
        for row in plain["rows"]:
            if row["shape"] in LARGE and (
                rate := ratio(row, "forward", "wall", *SIDES["bare matmuls / GateLSTM at its best"])
            ):
                rows.append(("to conquer: forward / bare matmuls (PyTorch's)", 2.0, 1 / rate, row["shape"]))
    cells = [
        [goal, where, f"{limit:.2f}", f"{value:.2f}", "" if value <= limit else "**missed**"]
        for goal, limit, value, where in rows
    ]
    return table(["goal", "where", "at most", "reached", ""], cells)


def tables() -> dict[str, str]:
    """Name → Markdown, of every table whose results are there."""
    found = {"variants": variants(), "goals": goals()}
    if document := read("layers_tensorflow_plain"):
        found |= {
            "means": means(document, RATIOS),
            "summary": means(document, {name: RATIOS[name] for name in SHORT}),
            "wall": shapes(document, "wall"),
            "processor": shapes(document, "processor"),
        }
    for name, make in (("fit", fit), ("memory", memory)):
        if rows := read(f"{name}_tensorflow"):
            found[name] = make(rows)
    return found


def filled(text: str) -> str:
    """A page with its tables as the results are now."""
    made = tables()
    return PLACE.sub(lambda place: f"{place[1]}\n{made.get(place['name'], '')}\n{place[3]}", text)


def main() -> None:
    shutil.copyfile(RESULTS / PICTURE, ROOT / "docs" / "images" / PICTURE)
    for page in PAGES:
        old = page.read_text(encoding="utf-8")
        new = filled(old)
        page.write_text(new, encoding="utf-8")
        print(
            f"{page.relative_to(ROOT)}: {len(PLACE.findall(old))} tables, {'changed' if new != old else 'as they were'}"
        )


if __name__ == "__main__":
    main()
