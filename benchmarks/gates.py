"""Write the tables of docs/gates.md: what each gate is worth to the shipped models, and how each gate deploys.

python benchmarks/gates.py
python benchmarks/gates.py speech text --only worth      # replaces these rows, keeps the others
python benchmarks/gates.py --model show=runs/show-20261123-120000/model.keras      # a model that you trained
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

import keras

import keras_gates as kg
from keras_gates._files import write_text
from keras_gates.models import registry
from keras_gates.models.training import fitting

PAGE = Path(__file__).parents[1] / "docs" / "gates.md"
EXAMPLES = 256
UNITS = 16
VARIANTS = {
    "plain": {},
    "plain, article form": {"formulation": "article"},
    "peephole": {
        "learn": kg.PeepholeLearnGate(UNITS),
        "forget": kg.PeepholeForgetGate(UNITS),
        "use": kg.PeepholeUseGate(UNITS),
    },
    "coupled forget (CIFG)": {"forget": kg.CoupledForgetGate(UNITS)},
    "layer-normalised": {
        "learn": kg.LayerNormLearnGate(UNITS),
        "forget": kg.LayerNormForgetGate(UNITS),
        "use": kg.LayerNormUseGate(UNITS),
    },
    "zoneout": {"remember": kg.ZoneoutRememberGate(UNITS), "use": kg.ZoneoutUseGate(UNITS)},
    "projection to 8": {"use": kg.ProjectionUseGate(UNITS, projection=8)},
    "open learn (NIG)": {"learn": kg.OpenLearnGate(UNITS)},
    "open forget (NFG)": {"forget": kg.OpenForgetGate(UNITS)},
    "open use (NOG)": {"use": kg.OpenUseGate(UNITS)},
}


def worth(name: str, path: Path, preset: str | None, source: str, data_dir: str | None) -> str:
    """Return a row of the first table."""
    zoo = registry.find(name)
    _, chosen = zoo.preset(preset)
    model = keras.saving.load_model(path, compile=False)
    if model.inputs[0].shape[0] is not None:  # stateful; here every example starts from an empty memory
        model = zoo.device(model)[0]
    data = zoo.data(source, data_dir, **chosen.get("data", {}))
    fitting.compile_model(zoo, model, {**fitting.DEFAULTS, **zoo.recipe, **chosen.get("recipe", {})}, None)
    x, y = data.arrays("test", EXAMPLES)
    rows = kg.worth_of_gates(model, x, y)
    score = next((known for known in rows[0]["scores"] if "acc" in known), "loss")
    cells = [f"{row['scores'][score]:.3f}" for row in rows]
    return f"| {f'{name} {preset or str()}'.strip()} | {score} on {len(y)} | " + " | ".join(cells) + " |"


def deployment(name: str, gates: dict[str, Any]) -> str:
    """Return a row of the second table."""
    model = keras.Sequential([keras.Input((20, 8)), kg.GateLSTM(UNITS, **gates), keras.layers.Dense(4)])
    with tempfile.TemporaryDirectory() as folder:
        report = kg.export(model, folder, formats=["tflite"])
    operators = sum(report.operators.values())
    size, difference = f"{report.bytes / 1024:.1f} KB", f"{report.max_difference:.0e}"
    return f"| {name} | {model.count_params():,} | {report.lowering} | {operators} | {size} | {difference} |"


def write(mark: str, table: list[str]) -> None:
    """Replace the table between two marks of the page."""
    page = PAGE.read_text(encoding="utf-8")
    page = re.sub(
        f"(<!-- {mark} -->\n).*?(<!-- end -->)", lambda m: m[1] + "\n".join(table) + "\n" + m[2], page, flags=re.S
    )
    write_text(PAGE, page)


def rows_of(page: str, mark: str) -> dict[str, str]:
    """Return the rows of the table between two marks, by their first cell."""
    table = page.partition(f"<!-- {mark} -->\n")[2].partition("<!-- end -->")[0].splitlines()[2:]
    return {row.split("|")[1].strip(): row for row in table}


def shipped(data_dir: str | None) -> list[tuple[str, Path, str, str, str | None]]:
    """Return name, file, preset, data source and data folder of every shipped model."""
    models = []
    for name in registry.names():
        for preset in registry.find(name).presets:
            path = registry.WEIGHTS / f"{name}-{preset}.keras"
            if path.exists():
                words = registry.card(name, preset).get("command", "").split()
                source = words[words.index("--data") + 1] if "--data" in words else "builtin"
                models.append((name, path, preset, source, data_dir))
    return models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="shipped models; default: all")
    parser.add_argument("--data-dir", help="folder of the TFDS data sets")
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME=FILE", help="a .keras file on built-in data"
    )
    parser.add_argument("--only", choices=("worth", "deployment"), help="write one table only")
    arguments = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    if arguments.only != "deployment":
        own = [(*pair.split("=", 1), None, "builtin", None) for pair in arguments.model]
        rows = rows_of(page, "worth") if arguments.models else {}
        held = [f"{factor} {how}" for factor in ("ignore", "forget", "use") for how in ("open", "closed", "mean")]
        head = ["| model | score | no gate held | " + " | ".join(held) + " |", "|" + "---|" * (len(held) + 3)]
        known = [f"{name} {preset}" for name, _, preset, *_ in shipped(None)]
        in_order = lambda row: [*known, row.split("|")[1].strip()].index(row.split("|")[1].strip())  # noqa: E731
        for one in [*own, *shipped(arguments.data_dir)]:
            if not arguments.models or one[0] in arguments.models or one in own:
                row = worth(*one)
                rows[row.split("|")[1].strip()] = row
                print(row, flush=True)
                write("worth", [*head, *sorted(rows.values(), key=in_order)])
    if arguments.only != "worth":
        rows = []
        for name, gates in VARIANTS.items():
            rows.append(deployment(name, gates))
            print(rows[-1], flush=True)
        head = ["| gates | weights | lowering | operators | file | largest difference |", "|" + "---|" * 6]
        write("deployment", [*head, *rows])


if __name__ == "__main__":
    main()
