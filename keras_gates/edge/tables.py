"""Reads tables with pandas: CSV and its relatives, gzip, Excel, Parquet. Training and the device read the same way.

pandas is optional on a device: `pip install "keras-gates[files]"`. This module adds to it what pandas does not know: which file,
line and cell an error is about.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.edge.optional import need
from keras_gates.edge.text_files import content, decoded
from keras_gates.edge.tflite import EdgeError

SUFFIXES = (".csv", ".tsv", ".gz", ".xlsx", ".xls", ".ods", ".parquet")
_SHEET_ROWS = 1_048_576  # of the largest sheet
_ROW_NUMBER = re.compile(rb'(?:<row [^>]*?\br|rows-repeated)="(\d+)"')  # of xlsx and of ods
_SEPARATORS = ("\t", ";", "|", ",")  # the comma last: it also occurs in texts and as a decimal comma
_SPACES = re.compile(
    "[\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\u0085]"
)  # TensorFlow splits at ASCII spaces only
_GROUPS = {",": r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", ".": r"[+-]?\d{1,3}(?:\.\d{3})+(?:,\d+)?"}
_DECIMAL_COMMA = r"[+-]?(?:\d*|\d{1,3}(?:\.\d{3})+),\d+(?:[eE][+-]?\d+)?"


@dataclass(frozen=True)
class Table:
    """A table as it stands in its file.

    Attributes:
        path: of the file.
        frame: `pandas.DataFrame`; cells of text files are text, without the header and without empty rows. Its index is the
            place of each row among all rows of the file, the header included.
        notes: what was not obvious: encoding, separator, rows and columns that were left out.
        decimal_comma: whether numbers are written 1.234,5.
        separator: between the cells of a text file.
        positions: of the columns among those of a text file, which may have some without a name.
    """

    path: Path
    frame: Any
    notes: list[str] = field(default_factory=list)
    decimal_comma: bool = False
    separator: str = ","
    positions: list[int] = field(default_factory=list)
    _raw: Any = None

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return list(self.frame.columns)

    def __len__(self) -> int:
        return len(self.frame)

    def where(self, row: int, column: str | None = None) -> str:
        """Return the place of a cell for an error: file, line (or row of a sheet) and column.

        Args:
            row: of `frame`, from 0.
            column: its name.
        """
        place = int(self.frame.index[row])
        if self._raw is None:
            place_text = f"row {place + 1}"
        else:  # cells may contain line breaks
            before = self._raw.iloc[:place].to_numpy().ravel()
            place_text = f"line {place + 1 + sum(cell.count(chr(10)) for cell in before)}"
        return f"{self.path}, {place_text}" + (f", column {column!r}" if column is not None else "")

    def texts(self, column: str) -> list[str]:
        """Return a column as texts; see `one_spaced`.

        Args:
            column: its name.

        Raises:
            EdgeError: an empty cell.
        """
        cells = ["" if _missing(cell) else one_spaced(str(cell)) for cell in self.frame[column]]
        if "" in cells:
            raise EdgeError(f"{self.where(cells.index(''), column)}: the cell is empty; fill it in or remove the row")
        return cells

    def numbers(self, column: str) -> np.ndarray:
        """Return a column as float64 (rows,).

        Args:
            column: its name.

        Raises:
            EdgeError: a cell is not a finite number.
        """
        pandas = need("pandas", "a table")
        cells = self.frame[column]
        if pandas.api.types.is_numeric_dtype(cells):
            values = cells.to_numpy("float64", na_value=np.nan)
        else:
            values = pandas.to_numeric(self._plain(cells), errors="coerce").to_numpy("float64", na_value=np.nan)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            cell = cells.iloc[bad[0]]
            raise EdgeError(
                f"{self.where(int(bad[0]), column)}: {'' if _missing(cell) else str(cell)!r:.60} is not a number; fill it in, "
                "remove the row, or leave the column out"
            )
        return values

    def _plain(self, cells: Any) -> Any:
        text = cells.astype(str).str.strip()
        mark = "." if self.decimal_comma else ","
        grouped = text.str.fullmatch(_GROUPS[mark])
        if self.decimal_comma:  # a point that does not group thousands stays, and is then no number
            text = text.where(~(text.str.contains(".", regex=False) & ~grouped), "mixed " + text)
        text = text.where(~grouped, text.str.replace(mark, "", regex=False))
        return text.str.replace(",", ".", regex=False) if self.decimal_comma else text


def one_spaced(text: str) -> str:
    """Return a text whose spaces of every kind are plain ones, without those at its ends. Word models split only at ASCII
    spaces, so a no-break space would join two words to an unknown one."""
    return _SPACES.sub(" ", text).strip()


def read_table(path: str | Path, required: Sequence[str] = (), header: bool = True) -> Table:
    """Read a table.

    Args:
        path: a file of text (separated by commas, semicolons, tabs or bars; .gz as well), .xlsx, .xls, .ods or .parquet.
        required: columns that must exist.
        header: whether the first row has the names; False names the columns "0", "1", …, and skips a row without numbers.

    Returns:
        The table.

    Raises:
        EdgeError: no such file, damaged, empty, no header, a missing or repeated column, a row that is too long.

    Example:

    >>> table = read_table("reviews.csv", required=("text", "label"))  # doctest: +SKIP
    >>> table.texts("label")[:2]  # doctest: +SKIP
    ['good', 'bad']
    """
    path = Path(path)
    if not path.is_file():
        raise EdgeError(f"there is no file {path}")
    notes: list[str] = []
    kind = path.suffix.lower()
    if kind == ".parquet":
        return _checked(Table(path, _typed(path, "read_parquet"), notes), required)
    if kind in (".xlsx", ".xls", ".ods"):
        return _checked(Table(path, _typed(path, "read_excel", dtype=object), notes), required)
    return _checked(table_of_text(decoded(content(path), path, notes), path, header, notes), required)


def table_of_text(text: str, path: Path, header: bool = True, notes: list[str] | None = None) -> Table:
    """Return the table that a text contains.

    Args:
        text: cells separated by commas, semicolons, tabs or bars.
        path: of its file, for errors.
        header: as in `read_table`.
        notes: what is already known of the file.

    Raises:
        EdgeError: as `read_table`.
    """
    notes = [] if notes is None else notes
    if not text.strip():
        raise EdgeError(f"{path} is empty; expected a table with a header line")
    separator = _separator(text)
    if separator != ",":
        notes.append("separated by " + {"\t": "tabs", ";": "semicolons", "|": "bars"}[separator])
    raw = _rows(text, separator, path)
    body = raw[(raw != "").any(axis=1)]
    if len(body) < len(raw):
        notes.append(f"{len(raw) - len(body)} empty rows left out")
    names = [cell.strip() for cell in body.iloc[0]]
    if header:
        body = _with_header(path, body, names, notes)
    else:
        body.columns = [str(number) for number in range(body.shape[1])]
        body = body.iloc[0 if any(map(_is_number, names)) else 1 :]
    comma = _has_decimal_commas(body, separator)
    if comma:
        notes.append("decimal commas")
    positions = [place for place, name in enumerate(names) if name in body.columns]
    return Table(path, body, notes, comma, separator, positions, raw)


def _typed(path: Path, reader: str, **options: Any) -> Any:
    pandas = need("pandas", f"{path.suffix} files")
    try:
        if reader == "read_excel":
            _check_row_numbers(path)
        frame = getattr(pandas, reader)(path, **options)
    except EdgeError:
        raise
    except ImportError as error:
        raise EdgeError(f"{path}: {str(error).splitlines()[0]}") from None
    except Exception as error:  # each engine has its own errors for damaged files
        raise EdgeError(f"{path} cannot be read: {str(error)[:200] or type(error).__name__}; save it again") from None
    frame.columns = [str(name).strip() for name in frame.columns]
    frame = frame.dropna(how="all")
    unnamed = [name for name in frame.columns if name.startswith("Unnamed:")]
    frame.index = frame.index.astype("int64") + (1 if reader == "read_excel" else 0)
    return frame.drop(columns=unnamed)


def _check_row_numbers(path: Path) -> None:
    """Refuse a workbook with a row number beyond a sheet's: pandas fills the gap for hours, or loses the rows behind it."""
    if not zipfile.is_zipfile(path):  # .xls, whose row numbers have 16 bits
        return
    with zipfile.ZipFile(path) as book:
        for name in book.namelist():
            if "worksheets/" not in name and name != "content.xml":
                continue
            if any(int(number) > _SHEET_ROWS for number in _ROW_NUMBER.findall(book.read(name))):
                raise EdgeError(
                    f"{path} is damaged: it has more than the {_SHEET_ROWS:,} rows of a sheet; save it again"
                )


def _separator(text: str) -> str:
    sample = [line for line in re.sub(r'"[^"]*"', "", text[:65536]).split("\n")[:30] if line.strip()]
    if len(sample) > 2:
        sample = sample[:-1]  # it may be cut

    def regular(mark: str) -> int:
        count = sample[0].count(mark) if sample else 0
        return sum(line.count(mark) == count for line in sample) if count else -1

    return max(_SEPARATORS, key=regular) if sample and max(map(regular, _SEPARATORS)) > 0 else ","


def _rows(text: str, separator: str, path: Path) -> Any:
    pandas = need("pandas", "a table")

    def parse(**options: Any) -> Any:
        return pandas.read_csv(
            io.StringIO(text), sep=separator, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False,
            skipinitialspace=True, **options,
        )  # fmt: skip

    try:
        return parse().fillna("")
    except pandas.errors.EmptyDataError:
        raise EdgeError(f"{path} is empty; expected a table with a header line") from None
    except pandas.errors.ParserError as error:
        if uneven := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error)):
            expected, row, got = map(int, uneven.groups())
            breaks = sum(cell.count("\n") for cell in parse(nrows=row - 1).to_numpy().ravel())
            raise EdgeError(
                f"{path}, line {row + breaks}: {got} cells where the first line has {expected}; quote cells that contain the "
                "separator"
            ) from None
        if unclosed := re.search(r"EOF inside string starting at row (\d+)", str(error)):
            row = int(unclosed[1])
            breaks = sum(cell.count("\n") for cell in parse(nrows=row).to_numpy().ravel()) if row else 0
            raise EdgeError(
                f"{path}, line {row + 1 + breaks}: a quotation mark is opened and never closed; close it, or double it"
            ) from None
        raise EdgeError(f"{path} is not a table: {str(error).strip()}") from None


def _with_header(path: Path, body: Any, names: list[str], notes: list[str]) -> Any:
    named = [name for name in names if name]
    if named and all(_is_number(name) or re.match(r"\d{1,4}[-/.]\d", name) for name in named):
        raise EdgeError(
            f"{path} has no header line: it starts with {', '.join(names)[:60]}; add a line with the names of the columns"
        )
    body = body.iloc[1:].set_axis([name or f"column {number}" for number, name in enumerate(names, 1)], axis=1)
    unnamed = [column for column, name in zip(body.columns, names) if not name or re.fullmatch(r"Unnamed: \d+", name)]
    if full := [column for column in unnamed if (body[column] != "").any()]:
        notes.append(f"left out, because it has no name: {', '.join(full)}")
    return body.drop(columns=unnamed)


def _checked(table: Table, required: Sequence[str]) -> Table:
    names = table.names
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise EdgeError(f"{table.path} has the column {repeated[0]!r} more than once; rename one")
    if missing := [name for name in required if name not in names]:
        raise EdgeError(f"{table.path} has no column {missing[0]!r}; its columns are: {', '.join(names)}")
    if not len(table):
        raise EdgeError(f"{table.path} has a header but no rows")
    return table


def _has_decimal_commas(body: Any, separator: str) -> bool:
    for place in range(body.shape[1]):
        cells = body.iloc[:, place]
        commas = cells[cells.str.contains(",", regex=False)].str.strip()
        decimal = commas.str.fullmatch(_DECIMAL_COMMA)
        if separator == ",":  # quoted 1,234 are thousands in a file that separates by commas
            decimal &= ~commas.str.fullmatch(_GROUPS[","])
        if decimal.any() and not commas.str.contains(r",\d{3},|,\d{3}\.", regex=True).any():
            return True
    return False


def _missing(cell: Any) -> bool:
    return cell is None or cell != cell


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
