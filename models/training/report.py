"""The report of a run: learning curves, report.md, and the table on the screen."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from keras_gates._files import write_text
from keras_gates.inspection.plots import plot_curves
from keras_gates.models.registry import Judgement, ZooModel
from keras_gates.models.training.deploying import Exports
from keras_gates.models.training.run_config import RunConfig

HEADINGS = ("file", "size", "Keras' score", "file's score", "max difference", "same class")


def draw_curves(history: Sequence[dict[str, float]], monitor: str, best_epoch: int, path: Path) -> None:
    """Draw loss and monitored quantity over the epochs, for training and validation, with the best epoch marked.

    Args:
        history: one dict of metrics per epoch.
        monitor: the quantity that decides which epoch is best.
        best_epoch: counted from 0.
        path: of the picture.
    """
    curves = {name: [logs.get(name) for logs in history] for name in history[0]}
    figure = plot_curves(curves, list(dict.fromkeys(["loss", monitor.removeprefix("val_")])))
    for axes in figure.axes:
        axes.axvline(best_epoch + 1, color="grey", linewidth=1, linestyle=":", label="best epoch")
        axes.legend()
    figure.savefig(path, dpi=100)


def command(config: RunConfig, zoo: ZooModel) -> str:
    """Return the command that repeats this run."""
    words = ["python", "train.py", *config.arguments]
    if zoo.name not in config.arguments:
        words.insert(2, zoo.name)
    return shlex.join(words)


def write_report(
    path: Path,
    zoo: ZooModel,
    config: RunConfig,
    data: Any,
    parameters: int,
    judgement: Judgement,
    exports: Exports,
    epochs: str,
    baselines: Sequence[dict[str, Any]] = (),
    times: Sequence[str] = (),
) -> None:
    """Write report.md: what was trained on which data, its scores, the exported files compared with Keras.

    Args:
        path: of the file.
        zoo: the model's description.
        config: of the run.
        data: a `keras_gates.models.data.pipeline.Data`.
        parameters: number of weights.
        judgement: the scores.
        exports: the exported files.
        epochs: a sentence about the best epoch.
        baselines: of `keras_gates.models.training.baselines`.
        times: lines of a table of the time that each stage took.
    """
    lines = [
        f"# {zoo.name}: {zoo.line}",
        "",
        f"{parameters:,} weights, preset `{config.preset}`, trained on {data.name}. {epochs}",
        "",
        "```bash",
        command(config, zoo),
        "```",
        "",
        *(["## The data, as they were read", "", *(f"- {note}" for note in data.notes), ""] if data.notes else []),
        "## Scores on the test data",
        "",
        "| score | value |",
        "|---|---|",
        *(f"| {name} | {value:.4g} |" for name, value in judgement.scores.items()),
        "",
        *baseline_lines(judgement, baselines),
        "![learning curves](curves.png)",
        "",
        *judgement.text,
        "",
    ]
    for name, caption in judgement.pictures:
        lines += [f"![{caption}]({name})", "", caption, ""]
    if exports.rows:
        lines += [
            "## Exports, each loaded again and compared with Keras on test data",
            "",
            f"Keras and every file on the same examples, the first {exports.rows[0]['samples']} of the test data, each from "
            "empty memory; max difference is the largest absolute difference between any two outputs.",
            "",
            "| " + " | ".join(HEADINGS) + " |",
            "|---" * len(HEADINGS) + "|",
            *("| " + " | ".join(export_row(row)) + " |" for row in exports.rows),
            "",
        ]
    lines += [*exports.failures, ""] if exports.failures else []
    source = [data.name, data.attribution, f"Licence: {data.licence}" if data.licence else ""]
    lines += ["## Data", "", " ".join(f"{part}." for part in source if part), ""]
    lines += [f"Split: {data.split}.", ""] if data.split else []
    lines += ["## Time", "", *times, ""] if times else []
    if zoo.published:
        lines += [
            "## Published results for comparison",
            "",
            "| result | value | source | protocol |",
            "|---|---|---|---|",
        ]
        lines += [f"| {f['figure']} | {f['value']} | {f['source']} | {f['protocol']} |" for f in zoo.published] + [""]
    lines += [
        "Gate values at every time step of a few test examples: [report.html](report.html). "
        "All measurements: [metrics.json](metrics.json). Training in TensorBoard: `tensorboard --logdir tensorboard`."
    ]
    write_text(path, "\n".join(lines) + "\n")


def baseline_lines(judgement: Judgement, baselines: Sequence[dict[str, Any]]) -> list[str]:
    """Return a table of simple models, and a sentence if one of them is better.

    Args:
        judgement: of the trained model.
        baselines: of `keras_gates.models.training.baselines`.
    """
    if not baselines:
        return []
    lines = ["| simple model | fitted to | score | value | seconds |", "|---|---|---|---|---|"]
    for row in baselines:
        examples = f"{row['fitted_to']:,}" if "fitted_to" in row else "all"
        lines.append(f"| {row['baseline']} | {examples} | {row['score']} | {row['value']:.4g} | {row['seconds']:.1f} |")
    better = better_baseline(judgement, baselines)
    return [*lines, "", *([better, ""] if better else [])]


def better_baseline(judgement: Judgement, baselines: Sequence[dict[str, Any]]) -> str:
    """Return a sentence that names the best simple model if it is better than the trained one, else "".

    Args:
        judgement: of the trained model; its first score is compared.
        baselines: of `keras_gates.models.training.baselines`.
    """
    name, value = next(iter(judgement.scores.items()), ("", 0.0))
    sign = 1 if name == "accuracy" else -1
    if not baselines or name not in ("accuracy", "mse", "bits per character"):
        return ""
    best = max(baselines, key=lambda row: sign * row["value"])
    if sign * best["value"] <= sign * value:
        return ""
    figures = f"{best['value']:.4g}, not {value:.4g}"
    return f"{best['baseline']} is better than this model: {figures}. Train longer, or use the simple model."


def write_comparison(path: Path, zoo: ZooModel, config: RunConfig, judgement: Judgement) -> None:
    """Write report.md of `--compare`."""
    lines = [f"# {zoo.name}, compared", "", "```bash", command(config, zoo), "```", "", *judgement.text, ""]
    for name, caption in judgement.pictures:
        lines += [f"![{caption}]({name})", "", caption, ""]
    write_text(path, "\n".join(lines))


def export_row(row: dict[str, Any]) -> list[str]:
    """Return one row of `Exports.rows` as the cells of a table."""

    def share(name: str) -> str:
        return "–" if row.get(name) is None else f"{row[name]:.2%}"

    def score(accuracy: str, scores: str) -> str:
        if scores in row:
            return ", ".join(f"{name} {value:.4g}" for name, value in row[scores].items())
        return share(accuracy)

    difference = f"{row['max_difference']:.1e}"
    return [
        row["file"],
        f"{row['bytes'] / 1024:.0f} KB",
        score("keras_accuracy", "keras_scores"),
        score("accuracy", "scores"),
        difference,
        share("agreement"),
    ]


def print_results(
    judgement: Judgement, exports: Exports, report: Path, baselines: Sequence[dict[str, Any]] = ()
) -> None:
    """Print the table of exports, the failures, the scores, those of simple models, and the path of the report."""
    console = Console()
    if exports.rows:
        what = f"exports in {report.parent}, loaded again and compared with Keras on test data:"
        console.print(what, highlight=False, soft_wrap=True)
        table = Table()
        for number, heading in enumerate(HEADINGS):
            justify: Any = "right" if number else "left"
            table.add_column(heading, justify=justify, overflow="fold", no_wrap=not number)  # a path stays in one piece
        for row in exports.rows:
            table.add_row(*export_row(row))
        console.print(table)
    for failure in exports.failures:
        console.print(failure, markup=False)
    scores = ", ".join(f"{name} {value:.4g}" for name, value in judgement.scores.items())
    console.print(f"test data: {scores}", highlight=False, soft_wrap=True)
    if baselines:
        simple = ", ".join(f"{row['baseline']} {row['value']:.4g}" for row in baselines)
        console.print(f"simple models ({baselines[0]['score']}): {simple}", highlight=False, soft_wrap=True)
    if better := better_baseline(judgement, baselines):
        console.print(better, highlight=False, soft_wrap=True)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
