"""``keras-gates predict --stream``: events with times in long recordings of sound or sensor values."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from keras_gates.edge import EdgeError, EdgeModel
from keras_gates.edge import sound as sounds
from keras_gates.edge.recordings import channels_of, clock, time_column
from keras_gates.edge.scan import BACKGROUND, Scan, scan
from keras_gates.edge.tables import SUFFIXES, read_table

HEADING = "start\tend\tlabel\tvalue"


def add_options(predict: argparse.ArgumentParser) -> None:
    """Add the options of ``--stream``.

    Args:
        predict: The parser of the command predict.
    """
    group = predict.add_argument_group("long recordings")
    group.add_argument(
        "--stream",
        action="store_true",
        help="print the events in a long recording of sound or sensor values, with times",
    )
    group.add_argument(
        "--hop", type=float, metavar="H", help="seconds (or rows of a table) between two windows (default: 1/4 window)"
    )
    group.add_argument(
        "--threshold",
        type=float,
        default=0.6,
        metavar="P",
        help="value from which a class counts (default: %(default)s)",
    )
    group.add_argument(
        "--smooth", type=int, default=2, metavar="N", help="average over N windows (default: %(default)s)"
    )
    group.add_argument("--background", action="append", metavar="LABEL", help="a label that is no event (repeatable)")


def print_events(model: EdgeModel, source: str, arguments: argparse.Namespace) -> None:
    """Print one line per event, as soon as it has ended.

    Args:
        model: A classifier of windows.
        source: Path of a sound file or a table.
        arguments: With the options of `add_options`, and ``json``.

    Raises:
        EdgeError: The source cannot be read, or the model does not classify windows of it.
    """
    kind = Path(source).suffix.lower()
    if kind in sounds.SUFFIXES:
        scanner, blocks, place = _sound(model, source, arguments)
    elif kind in SUFFIXES:
        scanner, blocks, place = _table(model, source, arguments)
    else:
        raise EdgeError(
            f"--stream reads sound ({', '.join(sounds.SUFFIXES)}) or tables ({', '.join(SUFFIXES)}), not {source}"
        )
    if not arguments.json:
        print(HEADING, flush=True)
    for event in scanner.events(blocks):
        start, end = place(event.start), place(event.end)
        if arguments.json:
            content = {"start": start, "end": end, "label": event.label, "value": round(event.value, 4)}
            print(json.dumps(content, ensure_ascii=False), flush=True)
        else:
            print(f"{start}\t{end}\t{event.label}\t{event.value:.3f}", flush=True)


def _scan(model: EdgeModel, arguments: argparse.Namespace, unit: int) -> Scan:
    background = (*BACKGROUND, *(arguments.background or ()))
    if unknown := set(arguments.background or ()) - set(model.labels):
        raise EdgeError(f"--background: the file has no label {sorted(unknown)}; it has {list(model.labels)}.")
    hop = None if arguments.hop is None else max(1, round(arguments.hop * unit))
    return scan(model, hop, arguments.threshold, arguments.smooth, background)


def _sound(
    model: EdgeModel, source: str, arguments: argparse.Namespace
) -> tuple[Scan, Iterable[np.ndarray], Callable[[int], float]]:
    rate = model.description.frontend.get("sample_rate")
    if not isinstance(rate, int):
        raise EdgeError(f"this model takes {model.description.events[0].text}, not sound.")
    return _scan(model, arguments, rate), sounds.read_blocks(source, rate), lambda sample: round(sample / rate, 3)


def _table(
    model: EdgeModel, source: str, arguments: argparse.Namespace
) -> tuple[Scan, Iterable[np.ndarray], Callable[[int], float | str]]:
    table, entry = read_table(source), model.description.table
    if "sample_rate" in model.description.frontend:
        raise EdgeError(f"this model takes sound, {source} is a table.")
    names = entry.get("columns") or channels_of(table)
    if missing := [name for name in names if name not in table.names]:
        raise EdgeError(f"{source} has no column {missing[0]!r}; its columns are: {', '.join(table.names)}")
    values = np.stack([table.numbers(name) for name in names], 1)
    column = time_column(table)
    times = None if column is None or clock(table, column) is None else table.frame[column]

    def place(row: int) -> float | str:
        return row if times is None else str(times.iloc[min(row, len(times) - 1)])

    return _scan(model, arguments, 1), [values], place
