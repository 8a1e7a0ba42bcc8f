"""`python train.py --list`: models, presets, scores and sizes."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from keras_gates.models import registry

SIZES = ("keras", "dynamic", "int8")


def print_list() -> None:
    """Print for each model its task and data sources, for each preset a description, and score and file sizes of its
    shipped weights."""
    console = Console()
    console.print("[bold]python train.py MODEL --preset PRESET[/bold]")
    console.print("[green]score and sizes of the shipped weights[/green]")
    for name in registry.names():
        model = registry.find(name)
        console.print(f"\n[bold]{name}[/bold]: {model.line}")
        sources = {"built in": model.builtin, "TFDS": ", ".join(model.tfds), "your own": model.files}
        for kind, source in sources.items():
            if source:
                console.print(Padding(f"[dim]{kind}: {source}[/dim]", (0, 0, 0, 2)))
        table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
        for preset, settings in model.presets.items():
            table.add_row(preset, settings["about"])
            if card := registry.card(name, preset):
                table.add_row("", f"[green]{_summary(card)}[/green]")
        console.print(table)


def models() -> dict[str, Any]:
    """Return what `print_list` prints, by name of the model, for `--json`."""
    listed = {}
    for name in registry.names():
        model, presets = registry.find(name), {}
        for preset, settings in model.presets.items():
            card = registry.card(name, preset) or {}
            presets[preset] = {"about": settings["about"], **{key: card.get(key) for key in ("scores", "sizes")}}
        listed[name] = {"line": model.line, "tfds": list(model.tfds), "presets": presets}
    return listed


def _summary(card: dict) -> str:
    score, value = next(iter(card["scores"].items()))
    sizes = {kind: card["sizes"][kind] / 1024 for kind in SIZES if kind in card["sizes"]}
    return " · ".join(
        [f"{score} {value:.4g}", *(f"{kind} {size:.0f}\N{NO-BREAK SPACE}KB" for kind, size in sizes.items())]
    )
