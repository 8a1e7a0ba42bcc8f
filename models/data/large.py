"""Sensor tables larger than memory: read in chunks, their numbers kept in temporary files that the operating system pages."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_gates.edge.chunks import ROWS, read_chunks
from keras_gates.edge.recordings import LABEL, RECORDING, channels_of


@dataclass(frozen=True)
class LargeTable:
    """The numbers of a table, on disk, and its labels by number.

    Attributes:
        values: float64 (rows, channels), a `numpy.memmap`.
        channels: names of the channels.
        columns: int32 (rows,) by name of each column of words: the places of its words in `words`.
        words: by column, in the order of their first row.
    """

    values: np.ndarray
    channels: list[str]
    columns: dict[str, np.ndarray]
    words: dict[str, list[str]]


def on_disk(shape: Sequence[int], dtype: str) -> np.ndarray:
    """Return an array of zeros in a temporary file, which is removed with the array.

    Args:
        shape: of the array.
        dtype: of its elements.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the array keeps it open
    return np.memmap(file, dtype, "w+", shape=tuple(shape))


def read_large(path: str | Path, besides: Sequence[str] = (), rows: int = ROWS) -> LargeTable:
    """Read a table of sensor values with a column `label` in chunks.

    Args:
        path: of a CSV or Parquet file.
        besides: columns of words that are no channels, e.g. a person.
        rows: per chunk.

    Raises:
        EdgeError: the file cannot be read, or a cell is not a number.
    """
    channels: list[str] = []
    words: dict[str, dict[str, int]] = {}
    codes: dict[str, list[np.ndarray]] = {}
    with tempfile.TemporaryFile() as file:
        for chunk in read_chunks(path, [LABEL, *besides], rows):
            if not words:
                named = [LABEL, *besides, *([RECORDING] if RECORDING in chunk.names else [])]
                words, codes = {name: {} for name in named}, {name: [] for name in named}
            channels = channels or channels_of(chunk, besides)
            np.stack([chunk.numbers(name) for name in channels], 1).tofile(file)
            for name, known in words.items():
                cells = np.array(chunk.texts(name))
                for word in dict.fromkeys(cells.tolist()):
                    known.setdefault(word, len(known))
                unique, place = np.unique(cells, return_inverse=True)
                codes[name].append(np.array([known[word] for word in unique.tolist()], "int32")[place])
        columns = {name: np.concatenate(parts) for name, parts in codes.items()}
        values = np.memmap(file, "float64", "r", shape=(len(columns[LABEL]), len(channels)))
        return LargeTable(values, channels, columns, {name: list(known) for name, known in words.items()})


def by_recording(table: LargeTable, rows: int = ROWS) -> LargeTable:
    """Return the table with the rows of each recording one after another; the same if they are, or if it has no such column.

    Args:
        table: of `read_large`.
        rows: to copy at once.
    """
    recording = table.columns.get(RECORDING)
    if recording is None or (np.diff(recording) >= 0).all():
        return table
    order = np.argsort(recording, kind="stable")
    values = on_disk(table.values.shape, "float64")
    for start in range(0, len(order), rows):
        values[start : start + rows] = table.values[order[start : start + rows]]
    return LargeTable(
        values, table.channels, {name: codes[order] for name, codes in table.columns.items()}, table.words
    )


def runs(table: LargeTable, steps: int, stride: int) -> list[slice]:
    """Return the rows of each recording: by the column `recording`, or else cut where the label changes and after `steps` rows,
    as `keras_gates.edge.recordings.cut_recordings` does.

    Args:
        table: of `by_recording`.
        steps: rows of a recording.
        stride: rows between the starts of two.
    """
    label, recording = table.columns[LABEL], table.columns.get(RECORDING)
    changes = label[1:] != label[:-1]
    if recording is not None:
        changes = changes | (recording[1:] != recording[:-1])
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(label)]
    if recording is not None:
        return [slice(first, last) for first, last in itertools.pairwise(edges)]
    return [
        slice(start, min(start + steps, last))
        for first, last in itertools.pairwise(edges)
        for start in range(first, first + max(1, last - first - steps // 2), stride)
    ]
