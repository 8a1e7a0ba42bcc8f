"""Tables in plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def print_table(rows: Iterable[Sequence[object]], head: Sequence[object] = ()) -> None:
    """Print rows with aligned columns.

    Args:
        rows: Rows with as many cells each.
        head: Column titles; empty prints none.
    """
    cells = [[str(cell) for cell in row] for row in ([head, *rows] if head else rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
