"""Write docs/results.md and docs/models/NAME.md from the cards of the shipped weights and docs/cells.json.

python benchmarks/results.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from keras_gates._files import read_json, write_text
from keras_gates.models import registry

DOCS = Path(__file__).parents[1] / "docs"
WEIGHTS = {"int8": "int8", "int4": "4 bits (activations int8)"}
SCORE_OF_FILE = {"accuracy": "accuracy", "bits": "bits per character", "mse": "mse"}
PIECES = "pieces of text that each start from empty memory, so more bits than over the whole text"


def number(value: float, name: str = "") -> str:
    """0.9877 → 98.8 %, where the name says that it is a share; else three digits."""
    return f"{value:.1%}".replace("%", " %") if "accuracy" in name or "inside" in name else f"{value:.4g}"


def spread(values: list[float], name: str) -> str:
    """Mean and standard deviation, and how many there were."""
    if len(values) == 1:
        return f"{number(values[0], name)} (1 run)"
    deviation = number(stdev(values), name)
    if "%" not in deviation:
        deviation = f"{stdev(values):.1g}"
    return f"{number(mean(values), name)} ± {deviation} ({len(values)} runs)"


def cards() -> list[dict[str, Any]]:
    """Return the cards of all shipped weights, in the order of the registry."""
    return [
        card
        for name in registry.names()
        for preset in registry.find(name).presets
        if (card := registry.card(name, preset))
    ]


def model_page(name: str, of_model: list[dict[str, Any]]) -> str:
    """docs/models/NAME.md"""
    zoo = registry.find(name)
    lines = [f"# {name}: {zoo.line}", "", f"Input: {zoo.files or zoo.builtin}.", ""]
    for card in of_model:
        lines += _section(card)
    if zoo.published:
        lines += ["## Published figures", "", "| what | value | source | protocol |", "|---|---|---|---|"]
        lines += [
            f"| {each['figure']} | {each['value']} | {each['source']} | {each['protocol']} |" for each in zoo.published
        ]
        lines.append("")
    if zoo.tried:
        lines += ["## What else was tried", "", *(f"- {sentence}" for sentence in zoo.tried), ""]
    if sources := dict.fromkeys(card["data"]["attribution"] for card in of_model if card["data"]["attribution"]):
        lines += ["## Sources of the data", "", *(line for each in sources for line in source(each))]
    return "\n".join(lines).rstrip() + "\n"


def _section(card: dict[str, Any]) -> list[str]:
    first = next(iter(card["scores"]))
    seeds = list(card["seeds"].values())
    data = card["data"]
    about = registry.find(card["model"]).preset(card["preset"])[1]["about"]
    lines = [f"## {card['preset']}", "", f"{about}; {card['parameters']:,} weights.", ""]
    lines += ["```bash", card["command"], "```", ""]
    if "trained_by" in card:
        lines += [
            f"The shipped weights and the seeds of this recipe were trained by `{card['trained_by'].replace(' on', '` on', 1)}.",
            "",
        ]
    link = " ([source](#sources-of-the-data))" if data["attribution"] else ""
    lines += [f"Data: {data['name']}{link}. License: {data['licence'] or 'the user’s own'}.", ""]
    lines += [f"Split: {data['split']}.", ""] if data.get("split") else []
    lines += ["| score on the test split | value |", "|---|---|"]
    lines += [f"| {name} | {number(value, name)} |" for name, value in card["scores"].items()]
    lines += [f"| {first}, seeds {', '.join(card['seeds'])} | {spread(seeds, first)} |"]
    lines += [f"| {name} | {spread(runs, 'accuracy')} |" for name, runs in card["means"].items()]
    if card.get("baselines"):
        kind = card["baselines"][0]["score"]
        lines += ["", f"| simple model | fitted to | {kind}, test split |", "|---|---|---|"]
        for row in card["baselines"]:
            model = row["baseline"] + (f", {row['counts']:,} counts" if "counts" in row else "")
            examples = f"{row['fitted_to']:,}" if "fitted_to" in row else "5,000 (texts: 20,000) at most"
            lines.append(f"| {model} | {examples} | {number(row['value'], first)} |")
    lines += [
        "",
        "| file | input | bytes | test examples | Keras | file | largest difference from Keras | µs per call | arena (bytes) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in card["exports"]:
        if "refused" in row:
            lines.append(f"| {row['precision']} | | not exported: {reason(row)} | | | | | | |")
            continue
        arena = f"{row['arena_bytes']:,}" if row.get("arena_bytes") else ""
        shape = "×".join("time" if size is None else str(size) for size in row["input"])
        lines.append(
            f"| {row['precision']} | {shape} | {row['bytes']:,} | {row['samples']:,} | {' | '.join(scores(row))} | "
            f"{row['max_difference']:.2g} | {row['latency_us']:.0f} | {arena} |"
        )
    versions = ", ".join(f"{name} {value}" for name, value in card["versions"].items())
    label = next((SCORE_OF_FILE[key] for row in card["exports"] for key in SCORE_OF_FILE if key in values(row)), "")
    note = f"Keras and file: {label} on the first test examples, as many as the table says"
    if label == SCORE_OF_FILE["bits"]:
        note += f", {PIECES}"
    return [*lines, "", f"{note}. Measured with {versions}.", "", *_trained(card)]


def _trained(card: dict[str, Any]) -> list[str]:
    """What training in integers is worth, with its command."""
    if not any(rows.get("seeds") for rows in card.get("trained", {}).values()):
        return []
    lines = ["Trained further in integers ([how](../quantization.md)), on the same test examples:", ""]
    lines += ["| weights | before | after |", "|---|---|---|"]
    for kind, label in WEIGHTS.items():
        if card["trained"].get(kind, {}).get("seeds"):
            lines.append(f"| {label} | {' | '.join(trained_scores(card['trained'][kind]))} |")
    command = f"python benchmarks/trained_in_integers.py {card['model']}-{card['preset']}"
    return [*lines, "", "```bash", command, "```", ""]


def trained_scores(rows: dict[str, Any]) -> tuple[str, str]:
    """A model's score in integers before training in them, and after it."""
    if "before" not in rows:
        return "–", "–"
    key = next(key for key in SCORE_OF_FILE if key in rows["before"])
    seeds = [each[key] for each in rows["seeds"].values()]
    return number(rows["before"][key], key), spread(seeds, key) if seeds else "–"


def integers(all_cards: list[dict[str, Any]]) -> list[str]:
    """The table of float, int8 and 4 bits."""
    lines = [
        "Every score of a row is on the same examples, the first of the test split. Float and int8 are the shipped models;",
        "trained are their weights after a sixth of the recipe's epochs more in integers, at a third of its learning rate, once",
        "per seed (`python benchmarks/trained_in_integers.py MODEL-PRESET`; how: [Train in integers](quantization.md)). 4 bits:",
        "two weights per byte, activations in int8. Flash: of the C for a Cortex-M4 with its code, int8 and 4 bits.",
        "",
        "| model | preset | examples | float | int8 | int8, trained | 4 bits, not trained | 4 bits, trained | flash |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    refused: list[str] = []
    for card in all_cards:
        rows = {row["precision"]: row for row in card["exports"]}
        if "refused" in rows.get("int8", {"refused": ""}):
            continue
        trained = card.get("trained", {})
        scored = [f"{rows['int8']['samples']:,}", *scores(rows["int8"])]
        scored.append(trained_scores(trained.get("int8", {}))[1])
        scored += trained_scores(trained.get("int4", {}))
        if reason := trained.get("int4", {}).get("refused"):
            short = reason.removeprefix("quantize_aware: ").partition(". In integers")[0]
            refused.append(f"- {card['model']} {card['preset']}: {short}.")
        lines.append(
            f"| {card['model']} | {card['preset']} | {' | '.join(scored)} | {_flash(trained.get('int4', {}))} |"
        )
    lines += [
        "",
        "A dash: not trained, or not measured. `forecast` and `language`: lower is better. `language` nano trained in 4 bits",
        "stands in [another table](quantization.md#what-it-is-worth), which scores fewer pieces.",
    ]
    return [*lines, "", "What `quantize_aware` refuses:", "", *refused] if refused else lines


def _flash(rows: dict[str, Any]) -> str:
    if "cores" not in rows:
        return "–"
    whole, packed = (rows["cores"]["m4"][kind][0] for kind in ("int8", "int4"))
    return f"{whole / 1024:.1f} → {packed / 1024:.1f} KB ({packed / whole:.2f})"


def values(row: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The scores of a file by name; with the prefix "keras_" those of Keras on the same examples."""
    if f"{prefix}scores" in row:
        return row[f"{prefix}scores"]
    return {"accuracy": row[f"{prefix}accuracy"]} if f"{prefix}accuracy" in row else {}


def scores(row: dict[str, Any]) -> list[str]:
    """What Keras and a file score on the same examples, as cells of a table."""
    return [
        next((number(each[key], key) for key in SCORE_OF_FILE if key in each), "–")
        for each in (values(row, "keras_"), values(row))
    ]


def source(attribution: str) -> list[str]:
    """Return the lines of an attribution: BibTeX in a code block, one field per line, other text as it is."""
    if not attribution.startswith("@"):
        return [f"{attribution}.", ""]
    entries = re.split(r"\s+(?=@\w+ ?{)", attribution.strip())
    fields = [re.sub(r",\s+(?=\w+ ?= ?[{\"])", ",\n  ", entry) for entry in entries]
    return ["```bibtex", *fields, "```", ""]


def reason(row: dict[str, Any]) -> str:
    return row["refused"].removeprefix("left out: ").replace("steps would be", "time steps would be")


def results_page(all_cards: list[dict[str, Any]], cells: list[dict[str, Any]]) -> str:
    """docs/results.md"""
    lines = [
        "# Results",
        "",
        "Generated by `python benchmarks/results.py` from the cards in models/weights/ and docs/cells.json. The page of a model",
        "has the commands that train its presets; `keras_gates.models.load(model, preset)` loads the weights. In bold: a",
        "simple model (`python benchmarks/card_baselines.py`) that is better than the shipped one.",
        "",
        "The score and its seeds are Keras' on the whole test split (`language`: the text from end to end). Files and Keras are",
        "compared on the same examples, the first of the test split (`python benchmarks/ship.py --score-files MODEL-PRESET`);",
        f"`language`: {PIECES}.",
        "",
    ]
    lines += [
        "## Shipped weights",
        "",
        "| model | preset | data | score | seeds | best simple model | size | examples | Keras | dynamic range | int8 |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for card in all_cards:
        first = next(iter(card["scores"]))
        rows = {row["precision"]: row for row in card["exports"]}
        files = [
            rows[precision]
            for precision in ("dynamic", "int8")
            if "refused" not in rows.get(precision, {"refused": ""})
        ]
        compared = [f"{files[0]['samples']:,}", scores(files[0])[0]] if files else ["–", "–"]
        compared += [_of(rows.get(precision)) for precision in ("dynamic", "int8")]
        lines.append(
            f"| [{card['model']}](models/{card['model']}.md) | {card['preset']} | {card['data']['name']} | {first} "
            f"{number(card['scores'][first], first)} | {spread(list(card['seeds'].values()), first)} | "
            f"{simple(card, first)} | {card['sizes']['keras'] / 1024:.0f} KB | {' | '.join(compared)} |"
        )
        for name, runs in card["means"].items():
            lines.append(f"| | | {name} | {spread(runs, 'accuracy')} | | | | | | | |")
    lines += ["", "## Integers", "", *integers(all_cards)]
    if cells:
        lines += ["", "## Kinds of cells", "", *_cells(cells)]
    return "\n".join(lines) + "\n"


def simple_models(card: dict[str, Any]) -> dict[str, float]:
    """Scores of simple models on the card's data, by name; those of a forecast are among its scores."""
    forecasts = {name.removesuffix(" mse"): value for name, value in card["scores"].items() if name.endswith(" mse")}
    return forecasts or {row["baseline"]: row["value"] for row in card.get("baselines", [])}


def simple(card: dict[str, Any], name: str) -> str:
    """The best simple model and its score; bold if it is better than the card's."""
    scores = simple_models(card)
    if not scores:
        return "–"
    better = max if "accuracy" in name else min
    best = better(scores, key=lambda each: scores[each])
    text = f"{number(scores[best], name)}, {best}"
    return f"**{text}**" if better(scores[best], card["scores"][name]) != card["scores"][name] else text


def _of(row: dict[str, Any] | None) -> str:
    if row is None or "refused" in row:
        return "–"
    return f"{scores(row)[1]}, {row['bytes'] / 1024:.0f} KB"


def _cells(cells: list[dict[str, Any]]) -> list[str]:
    kinds = list(dict.fromkeys(row["cell"] for row in cells))
    lines = [
        "Each cell in the same model, with the same number of units, data and short training recipe",
        "(`python benchmarks/cells.py`). The training budget is small: the scores compare cells, not what a model can reach.",
        "",
        f"| data | {' | '.join(kinds)} |",
        f"|---|{'---|' * len(kinds)}",
    ]
    for task in dict.fromkeys(row["task"] for row in cells):
        found = {kind: [row for row in cells if row["task"] == task and row["cell"] == kind] for kind in kinds}
        told = [
            f"{spread([row['score'] for row in rows], rows[0]['name'])}, {rows[0]['parameters']:,}" if rows else "–"
            for rows in found.values()
        ]
        lines.append(f"| {task} | {' | '.join(told)} |")
    return [
        *lines,
        "",
        "Score, then the number of weights of the whole model. `language`: bits per character, lower is better.",
    ]


def main() -> int:
    every = cards()
    cells = DOCS / "cells.json"
    (DOCS / "models").mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(card["model"] for card in every):
        page = model_page(name, [card for card in every if card["model"] == name])
        write_text(DOCS / "models" / f"{name}.md", page)
    rows = read_json(cells) if cells.exists() else []
    write_text(DOCS / "results.md", results_page(every, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
