"""The class of all figures: a matplotlib figure that a notebook shows without `%matplotlib inline`."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class Picture(Figure):
    """A `Figure` that knows its picture: IPython asks an object for `_repr_png_` when no backend has registered its class."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=80)
        return file.getvalue()
