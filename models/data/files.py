"""Reads the user's files: a folder with one sub-folder per label, CSV tables, texts. Every error has a sentence that says what
to do."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_gates.models.registry import UserError

PARTS = ("train", "validation", "test")


def labelled_files(folder: str | Path, suffix: str) -> tuple[dict[str, tuple[list[Path], np.ndarray]], list[str]]:
    """List the files `folder/LABEL/*suffix`, or `folder/train/LABEL/*suffix`, `folder/validation/…` and `folder/test/…`.

    Args:
        folder: with the sub-folders.
        suffix: of the files, e.g. ".wav", in lower or upper case.

    Returns:
        (parts, labels): parts maps "train", "validation" and "test", or "all" if the folder is not split, to (paths, classes);
        the classes are an int32 array of indices into labels.

    Raises:
        UserError: no such folder, no sub-folders, fewer than two labels, a label without files, a part whose labels
            differ.

    Example:
        parts, labels = labelled_files("words", ".wav")
        paths, classes = parts["all"]
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; expected a folder with one sub-folder of {suffix} files per label")
    names = _folders(folder)
    divided = [part for part in PARTS if part in names]
    if divided and not set(names) <= set(PARTS):
        strangers = ", ".join(sorted(set(names) - set(PARTS))[:3])
        raise UserError(f"{folder} contains both {', '.join(divided)} and {strangers}: either split all labels or none")
    if divided and "train" not in names:
        raise UserError(f"{folder} contains {', '.join(divided)} but no train; add it, or remove them")
    roots = {part: folder / part for part in divided} or {"all": folder}
    labels = _folders(next(iter(roots.values())))
    if len(labels) < 2:
        raise UserError(
            f"{next(iter(roots.values()))} has {len(labels)} sub-folders; expected at least 2, one per label"
        )
    parts = {}
    for part, root in roots.items():
        if _folders(root) != labels:
            differ = ", ".join(sorted(set(_folders(root)) ^ set(labels)))
            raise UserError(f"{root} does not have the same labels as the other parts; these differ: {differ}")
        paths, classes = [], []
        for index, label in enumerate(labels):
            files = sorted(path for path in (root / label).iterdir() if path.suffix.lower() == suffix)
            if not files:
                raise UserError(f"{root / label} has no {suffix} file; add some, or remove the folder")
            paths += files
            classes += [index] * len(files)
        parts[part] = paths, np.array(classes, "int32")
    return parts, labels


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def read_table(path: str | Path, required: Sequence[str] = ()) -> dict[str, list[str]]:
    """Read a CSV file with a header row, in UTF-8, separated by commas, semicolons or tabs.

    Args:
        path: of the file.
        required: columns that must exist.

    Returns:
        column name → its cells as text.

    Raises:
        UserError: no such file, not UTF-8, empty, a missing or repeated column, a row of another length (with its
            number).

    Example:
        table = read_table("reviews.csv", required=("text", "label"))
    """
    path = Path(path)
    text = read_text(path)
    lines = text.splitlines()
    if not lines:
        raise UserError(f"{path} is empty; expected a CSV with a header row")
    separator = max(",;\t", key=lines[0].count)
    rows = list(csv.reader(text.splitlines(keepends=True), delimiter=separator))
    header = [name.strip() for name in rows[0]]
    missing = [name for name in required if name not in header]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}; its columns are: {', '.join(header)}")
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise UserError(f"{path} has the column {min(repeated)!r} more than once")
    body = [(number, row) for number, row in enumerate(rows[1:], 2) if row]
    for number, row in body:
        if len(row) != len(header):
            raise UserError(f"{path}, row {number}: {len(row)} cells where the header has {len(header)}")
    if not body:
        raise UserError(f"{path} has a header but no rows")
    return {name: [row[column] for _, row in body] for column, name in enumerate(header)}


def read_text(path: str | Path) -> str:
    """Read a text file in UTF-8.

    Raises:
        UserError: there is no such file, or it has another encoding.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    raw = path.read_bytes()
    marks = {b"\xff\xfe": "UTF-16 (little-endian)", b"\xfe\xff": "UTF-16 (big-endian)", b"PK": "a zip (an Excel file?)"}
    for mark, name in marks.items():
        if raw.startswith(mark):
            raise UserError(f"{path} is {name}, expected UTF-8 text; save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path} is not UTF-8 (byte 0x{raw[error.start]:02x} in line {line}; Latin-1?); save it as UTF-8"
        ) from None


def numbers(cells: Sequence[str], column: str, path: str | Path) -> np.ndarray:
    """Return a column as float32 (rows,).

    Args:
        cells: of the column.
        column: its name, for the error message.
        path: of the file, for the error message.

    Raises:
        UserError: a cell is not a finite number.
    """
    values = np.empty(len(cells), "float32")
    for row, cell in enumerate(cells):
        try:
            values[row] = float(cell)
        except ValueError:
            values[row] = np.nan
        if not np.isfinite(values[row]):
            raise UserError(
                f"{path}, column {column!r}, data row {row + 1}: {cell!r} is not a number; fill it in or remove the row"
            )
    return values
