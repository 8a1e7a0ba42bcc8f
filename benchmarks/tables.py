"""The tables of docs/performance.md and of the README's Speed section, made of the JSON files in benchmarks/results.

    python benchmarks/tables.py          # puts each between its `<!-- table: NAME -->` and `<!-- end -->`

The JSON files are written by `benchmarks/layers.py` and `benchmarks/fit.py`. A table whose file is missing is left out.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
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
    "GateLSTM / Keras' default": "GateLSTM / `keras.layers.LSTM` as `fit` runs it",
    "GateLSTM / Keras at its best": "GateLSTM / the better of `keras.layers.LSTM` with and without XLA",
    "GateLSTM / torch.nn.LSTM at its best": "GateLSTM / `torch.nn.LSTM` (the better of all threads and one)",
    "article / standard": "article form / standard form",
}
COLUMNS = {
    "GateLSTM": "GateLSTM",
    "GateLSTM article": "article",
    "keras.layers.LSTM": "Keras",
    "keras.layers.LSTM XLA": "Keras XLA",
    "torch.nn.LSTM": "torch.nn.LSTM",
    "torch.nn.LSTM, one thread": "the same, one thread",
    "bare matmuls": "bare matmuls (PyTorch)",
}
KINDS = ("forward", "train")
TIMES = ("wall", "processor")
MODELS = ["GateLSTM", "GateLSTM article", "keras.layers.LSTM", "keras.layers.LSTM XLA"]
RATE = "32/100/64/128"  # where the variants of the gates have their goal
SHORT = ("32/7/12/128", "32/4/128/128")
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
VARIANTS = {
    "plain": "",
    "last": "only the last output",
    "masked": "masked, right-padded",
    "stacked": "two layers",
    "bidirectional": "Bidirectional",
    "mixed_bfloat16": "mixed_bfloat16",
    "peephole": "peephole gates",
    "coupled": "coupled forget gate",
    "layer_norm": "layer normalization",
    "zoneout": "zoneout",
    "projection": "projection to half of the units",
}
GPU_COLUMNS = ("GateLSTM", "GateLSTM article", "keras.layers.LSTM", "torch.nn.LSTM")
GATES = ("peephole", "coupled", "layer_norm", "zoneout", "projection")


def read(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows]) + "\n"


def long_rows(document: dict) -> list[dict]:
    """The rows that means are taken over: the short shapes, where a call costs more than its work, have a goal of their own."""
    return [row for row in document["rows"] if row["shape"] not in SHORT]


def means(document: dict, names: dict[str, str]) -> str:
    """Geometric means over the shapes: wall time, and processor time of all threads."""
    head = [f"geometric mean over {len(long_rows(document))} shapes", "forward", "training step"]
    head += ["forward, processor time", "training step, processor time"]
    kinds = ("forward wall", "train wall", "forward processor", "train processor")
    found = summary(long_rows(document))
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
    """One row a variant or backend: ratios, forward / training step, of wall time, and in brackets of processor time."""
    names = {
        "GateLSTM / Keras' default": "GateLSTM / Keras",
        "GateLSTM / torch.nn.LSTM at its best": "GateLSTM / `torch.nn.LSTM`",
        "article / standard": "article / standard",
    }

    def cell(means: dict[str, float]) -> str:
        wall, processor = ([means[f"{kind} {by}"] for kind in KINDS] for by in ("wall", "processor"))
        return "{:.2f} / {:.2f} ({:.2f} / {:.2f})".format(*wall, *processor)

    rows = []
    for backend, variant in product(BACKENDS, VARIANTS):
        document = read(f"layers_{backend}_{variant}")
        if document is None:
            continue
        found = summary(long_rows(document))
        text = ", ".join(filter(None, [BACKENDS[backend], VARIANTS[variant]]))
        cells = [cell(found[name]) if name in found else "" for name in names]
        rows.append([text, str(len(long_rows(document))), *cells, slowest(document)])
    return table(["forward / training step", "shapes", *names.values(), "slowest training step against Keras"], rows)


def slowest(document: dict) -> str:
    """The shape where GateLSTM's training step comes off worst against Keras' default, by wall time."""
    name = "GateLSTM / Keras' default"
    found = [(ratio(row, "train", "wall", *SIDES[name]), row["shape"]) for row in document["rows"]]
    return "{:.2f} at {}".format(*max(found))


def machines() -> str:
    """Where the results come from: machine, threads, instructions, versions, and how busy it was."""
    rows: dict[tuple[str, str], list] = {}
    for backend, variant in product(BACKENDS, VARIANTS):
        if document := read(f"layers_{backend}_{variant}"):
            loads = [row["load"] for row in document["rows"]]
            rows.setdefault((BACKENDS[backend], document["machine"]), []).append(loads)
    cells = []
    for (backend, machine), loads in rows.items():
        flat = sorted(load for of_file in loads for load in of_file)
        cells.append([backend, machine, f"{flat[0]:.0f} to {flat[-1]:.0f}"])
    return table(["backend", "machine", "load while it was measured"], cells)


def fit(rows: list[dict]) -> str:
    """Seconds of an epoch, and what it takes of Keras'."""
    cells = []
    for row in rows:
        cells.append(
            [row["shape"]]
            + [f"{row['models'][name]['wall']:.2f}" for name in MODELS if name in row["models"]]
            + [of_keras(row, "first_"), of_keras(row, "")]
        )
    used = [name for name in MODELS if name in rows[0]["models"]]
    both = [" / ".join(f"{epochs(rows, f'{which}{by}'):.2f}" for by in TIMES) for which in ("first_", "")]
    cells.append(["geometric mean", *[""] * len(used), *both])
    head = ["seconds of a steady epoch", *[COLUMNS[name] for name in used]]
    return table([*head, "first epoch, GateLSTM / Keras, wall / processor time", "steady epochs, the same"], cells)


def of_keras(row: dict, which: str) -> str:
    ours, keras = row["models"]["GateLSTM"], row["models"]["keras.layers.LSTM"]
    return " / ".join(f"{ours[f'{which}{by}'] / keras[f'{which}{by}']:.2f}" for by in TIMES)


def epochs(rows: list[dict], key: str) -> float:
    """The geometric mean of GateLSTM / Keras."""
    return mean([row["models"]["GateLSTM"][key] / row["models"]["keras.layers.LSTM"][key] for row in rows])


def lengths(rows: list[dict]) -> str:
    """Texts of many lengths: time against Keras', and memory."""
    cells = []
    for row in rows:
        used = [row["models"][name].get("added_MB") for name in ("GateLSTM", "keras.layers.LSTM")]
        megabytes = " / ".join(f"{each:.0f}" for each in used if each is not None)
        name = "with a mask" if row["masked"] else "without a mask"
        cells.append([name, of_keras(row, "first_"), of_keras(row, ""), megabytes])
    head = [
        "texts of 20 to 200 tokens",
        "first epoch, GateLSTM / Keras, wall / processor time",
        "steady epochs, the same",
    ]
    return table([*head, "MB added at the peak, GateLSTM / Keras"], cells)


def memory(rows: list[dict]) -> str:
    used = [name for name in MODELS if name in rows[0]["models"]]
    cells = [[row["shape"], *[f"{row['models'][name]['added_MB']:.0f}" for name in used]] for row in rows]
    return table(["MB that three epochs add at the peak", *[COLUMNS[name] for name in used]], cells)


def goals() -> str:
    """What was asked for and what the results say, wall time and processor time."""
    rows: list[tuple[str, str, float, dict[str, float]]] = []

    def add(goal: str, where: str, limit: float, value: Callable[[str], float | None]) -> None:
        values = {by: value(by) for by in TIMES}
        if all(each is not None for each in values.values()):
            rows.append((goal, where, limit, values))

    def at(document: dict, shape: str, kind: str, name: str) -> Callable[[str], float | None]:
        found = [row for row in document["rows"] if row["shape"] == shape]
        return lambda by: ratio(found[0], kind, by, *SIDES[name]) if found else None

    for backend, text in BACKENDS.items():
        if not (plain := read(f"layers_{backend}_plain")):
            continue
        found, where = summary(long_rows(plain)), f"{text}, {len(long_rows(plain))} shapes"
        for kind, name in (("forward", "forward"), ("train", "training step")):
            for peer, limit in (("torch.nn.LSTM", 0.75), ("Keras", 0.75 if kind == "forward" else 0.30)):
                key = f"GateLSTM / {peer} at its best"
                if key in found:
                    add(f"{name} / {peer} at its best", where, limit, lambda by, f=found[key], i=kind: f[f"{i} {by}"])
        worst = max(plain["rows"], key=lambda row: ratio(row, "train", "wall", *SIDES["article / standard"]))
        add(
            "training, article / standard",
            f"{text}, {worst['shape']}",
            1.35,
            at(plain, worst["shape"], "train", "article / standard"),
        )
        for shape in SHORT:
            add(
                "training step / Keras, short",
                f"{text}, {shape}",
                0.80,
                at(plain, shape, "train", "GateLSTM / Keras' default"),
            )
    for backend, variant in product(BACKENDS, GATES):
        if document := read(f"layers_{backend}_{variant}"):
            text = f"{BACKENDS[backend]}, {VARIANTS[variant]}"
            add("training step / Keras, variants", text, 0.60, at(document, RATE, "train", "GateLSTM / Keras' default"))
    for name, which, limit in (("first epoch of `fit`", "first_", 1.0), ("steady epochs of `fit`", "", 0.45)):
        if shapes := read("fit_tensorflow"):
            add(f"{name} / Keras", f"{len(shapes)} shapes", limit, lambda by, w=which, s=shapes: epochs(s, f"{w}{by}"))
    for name, which, limit in (("first epoch, many lengths", "first_", 1.0), ("steady epochs, many lengths", "", 0.6)):
        if texts := read("lengths_tensorflow"):
            add(f"{name} / Keras", "with and without a mask", limit, lambda by, w=which, s=texts: epochs(s, f"{w}{by}"))
    for row in read("memory_tensorflow") or []:
        models = row["models"]
        share = models["GateLSTM"]["added_MB"] / models["keras.layers.LSTM"]["added_MB"]
        add("peak memory of training / Keras'", row["shape"], 1.0, lambda by, value=share: value)
    cells = [
        [
            goal,
            where,
            f"{limit:.2f}",
            *[f"{values[by]:.2f}" for by in TIMES],
            "" if values["wall"] <= limit else "**missed**",
        ]
        for goal, where, limit, values in rows
    ]
    return table(["goal", "where", "at most", "reached, wall time", "processor time", ""], cells)


def gpu() -> str:
    """Milliseconds on a GPU, forward / training step, and geometric means of the ratios to Keras."""
    cells = []
    for backend, text in BACKENDS.items():
        if not (document := read(f"gpu_{backend}")):
            continue
        for row in document["rows"]:
            times = [
                " / ".join(f"{row[kind][name]:.2f}" for kind in ("forward", "train")) if name in row["forward"] else ""
                for name in GPU_COLUMNS
            ]
            cells.append([f"{text}, {row['shape']}", *times])
        ratios = document["geometric_means"]
        means = [ratios.get(f"{name} / keras.layers.LSTM") for name in GPU_COLUMNS]
        cells.append(
            [f"{text}, ratio to Keras", *[f"{m['forward']:.2f} / {m['train']:.2f}" if m else "" for m in means]]
        )
    return table(["milliseconds, forward / training step", *[COLUMNS[name] for name in GPU_COLUMNS]], cells)


def tables() -> dict[str, str]:
    """Name → Markdown, of every table whose results are there."""
    found = {"variants": variants(), "goals": goals(), "machines": machines(), "gpu": gpu()}
    if document := read("layers_tensorflow_plain"):
        found |= {
            "summary": means(document, RATIOS),
            "wall": shapes(document, "wall"),
            "processor": shapes(document, "processor"),
        }
    for name, make in (("fit", fit), ("memory", memory), ("lengths", lengths)):
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
