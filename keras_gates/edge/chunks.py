"""Reads a table piece by piece, so that one larger than memory can be trained on, streamed, or forecast from."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_gates.edge.optional import need
from keras_gates.edge.tables import Table, table_of_text
from keras_gates.edge.text_files import decoded
from keras_gates.edge.tflite import EdgeError

LARGE = 300_000_000  # bytes; the cells of a text file take ten times as much in memory
ROWS = 100_000
_SAMPLE = 1 << 20


def is_large(path: str | Path) -> bool:
    """Return whether a table should be read in chunks: CSV or Parquet above `LARGE` bytes.

    Args:
        path: of an existing file, or one that is missing.
    """
    path = Path(path)
    kinds = (".csv", ".tsv", ".gz", ".parquet")
    return path.suffix.lower() in kinds and path.is_file() and path.stat().st_size > LARGE


def read_chunks(path: str | Path, required: Sequence[str] = (), rows: int = ROWS) -> Iterator[Table]:
    """Read a CSV or Parquet table in pieces of some rows. Encoding, separator and decimal comma are those of its first megabyte.

    Args:
        path: of the file.
        required: columns that must exist.
        rows: per piece.

    Yields:
        Tables with the same columns; the index of each frame is the place of a row among all rows of the file.

    Raises:
        EdgeError: as `keras_gates.edge.tables.read_table`.

    Example:

    >>> sum(len(chunk) for chunk in read_chunks("movements.csv"))  # doctest: +SKIP
    12000000
    """
    path = Path(path)
    if not path.is_file():
        raise EdgeError(f"there is no file {path}")
    pieces = _parquet(path, rows) if path.suffix.lower() == ".parquet" else _text(path, rows)
    for piece in pieces:
        if missing := [name for name in required if name not in piece.names]:
            raise EdgeError(f"{path} has no column {missing[0]!r}; its columns are: {', '.join(piece.names)}")
        if len(piece):
            yield piece


def _parquet(path: Path, rows: int) -> Iterator[Table]:
    parquet = need("pyarrow.parquet", "a .parquet file in pieces")
    place = 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=rows):
            frame = batch.to_pandas().reset_index(drop=True)
            frame.index += place
            place += len(frame)
            yield Table(path, frame.dropna(how="all"))
    except (OSError, ValueError) as error:
        raise EdgeError(f"{path} cannot be read: {str(error)[:200]}; save it again") from None


def _text(path: Path, rows: int) -> Iterator[Table]:
    pandas = need("pandas", "a table")
    text, encoding = _start(path)
    first, place = table_of_text(text, path), 0
    options: dict[str, Any] = {
        "sep": first.separator, "header": None, "dtype": str, "keep_default_na": False, "skipinitialspace": True,
        "skip_blank_lines": False, "encoding": encoding, "chunksize": rows,
    }  # fmt: skip
    try:
        for piece in pandas.read_csv(path, **options):
            place += len(piece)
            body = piece.fillna("")
            body = body[(body != "").any(axis=1) & (body.index >= first.frame.index[0])]
            body = body[first.positions].set_axis(first.names, axis=1)
            yield Table(path, body, decimal_comma=first.decimal_comma)
    except (UnicodeDecodeError, pandas.errors.ParserError) as error:
        raise EdgeError(
            f"{path}, after row {place}: {str(error).strip()[:200]}; correct this row, or save it as UTF-8"
        ) from None


def _start(path: Path) -> tuple[str, str]:
    """The whole rows at the start of a text file, and its encoding."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        raw = file.read(_SAMPLE)
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise EdgeError(f"{path} is UTF-16 and too large to be read at once; save it as UTF-8")
    while len(raw) == _SAMPLE or raw.count(b'"') % 2:  # the last row is cut, maybe within a quoted cell
        raw = raw[: raw.rfind(b"\n", 0, len(raw) - 1) + 1]
    notes: list[str] = []
    text = decoded(raw, path, notes)
    return text, notes[0].partition("read as ")[2].partition(";")[0] if notes else "utf-8-sig"
