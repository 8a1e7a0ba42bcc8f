"""What a run leaves for people: the learning curves, a short report in Markdown, and the table on the screen."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_gates.models.registry import Judgement, ZooModel

HEADINGS = ("file", "size", "Keras right", "file right", "difference", "same answer")


def draw_curves(history: Sequence[dict[str, float]], monitor: str, best_epoch: int, path: Path) -> None:
    """A panel each for the loss and for what is monitored, training and validation, the best epoch marked."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(["loss", monitor.removeprefix("val_")]))
    figure = Figure((5 * len(names), 3.2), layout="constrained")
    epochs = range(1, len(history) + 1)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            axes.plot(epochs, [logs.get(key) for logs in history], marker=".", label=label)
        axes.axvline(best_epoch + 1, color="grey", linewidth=1, linestyle=":", label="kept")
        axes.set(title=name, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
    figure.savefig(path, dpi=100)


def command(config: dict[str, Any], zoo: ZooModel) -> str:
    """The command that gives this run again."""
    words = ["python", "train.py", *config["arguments"]]
    if zoo.name not in config["arguments"]:
        words.insert(2, zoo.name)
    return shlex.join(words)


def write_report(
    path: Path,
    zoo: ZooModel,
    config: dict[str, Any],
    data: Any,
    parameters: int,
    judgement: Judgement,
    exports: Any,
    epochs: str,
) -> None:
    """`report.md`: what was trained on what, how well it does, what was exported and whether it says the same."""
    lines = [
        f"# {zoo.name}: {zoo.line}",
        "",
        f"{parameters:,} weights, preset `{config['preset']}`, trained on {data.name}. {epochs}",
        "",
        "```bash",
        command(config, zoo),
        "```",
        "",
        "## Scores on the test data",
        "",
        "| score | value |",
        "|---|---|",
        *(f"| {name} | {value:.4g} |" for name, value in judgement.scores.items()),
        "",
        "![learning curves](curves.png)",
        "",
        *judgement.text,
        "",
    ]
    for name, caption in judgement.pictures:
        lines += [f"![{caption}]({name})", "", caption, ""]
    if exports.rows:
        lines += [
            "## Exports, each loaded back and compared with Keras on test data",
            "",
            f"{exports.rows[0]['samples']} examples; difference is the largest between any two outputs.",
            "",
            "| " + " | ".join(HEADINGS) + " |",
            "|---" * len(HEADINGS) + "|",
            *("| " + " | ".join(export_row(row)) + " |" for row in exports.rows),
            "",
        ]
    lines += [*exports.failures, ""] if exports.failures else []
    lines += ["## Data", "", f"{data.name}. {data.attribution}. Licence: {data.licence}.", ""]
    lines += [f"Split: {data.split}.", ""] if data.split else []
    if zoo.published:
        lines += [
            "## Published figures to stand beside",
            "",
            "| figure | value | source | protocol |",
            "|---|---|---|---|",
        ]
        lines += [f"| {f['figure']} | {f['value']} | {f['source']} | {f['protocol']} |" for f in zoo.published] + [""]
    lines += [
        "Look inside, event by event and gate by gate: [report.html](report.html). "
        "Everything that was measured is in [metrics.json](metrics.json); `tensorboard --logdir tensorboard` shows the training."
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_comparison(path: Path, zoo: ZooModel, config: dict[str, Any], judgement: Judgement) -> None:
    """`report.md` of `--compare`."""
    lines = [f"# {zoo.name}, compared", "", "```bash", command(config, zoo), "```", "", *judgement.text, ""]
    for name, caption in judgement.pictures:
        lines += [f"![{caption}]({name})", "", caption, ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def export_row(row: dict[str, Any]) -> list[str]:
    """One export as the words of a table's row."""

    def share(name: str) -> str:
        return "–" if row.get(name) is None else f"{row[name]:.2%}"

    difference = f"{row['max_difference']:.1e}"
    return [
        row["file"],
        f"{row['bytes'] / 1024:.0f} KB",
        share("keras_accuracy"),
        share("accuracy"),
        difference,
        share("agreement"),
    ]


def print_results(judgement: Judgement, exports: Any, report: Path) -> None:
    """On the screen: the table of exports, what failed, the scores, and where the report is."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if exports.rows:
        table = Table(title="exports, loaded back and compared with Keras on test data", title_justify="left")
        for number, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="right" if number else "left", overflow="fold")
        for row in exports.rows:
            table.add_row(*export_row(row))
        console.print(table)
    for failure in exports.failures:
        console.print(failure, markup=False)
    scores = ", ".join(f"{name} {value:.4g}" for name, value in judgement.scores.items())
    console.print(f"on the test data: {scores}", highlight=False, soft_wrap=True)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
