"""The class of all figures: a matplotlib figure that a notebook shows without `%matplotlib inline`, in every script."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text

from keras_gates.inspection.plots.text import families


class Picture(Figure):
    """A `Figure` that knows its picture: IPython asks an object for `_repr_png_` when no backend has registered its class."""

    def draw(self, renderer: Any) -> None:
        for text in self.findobj(Text):
            if not text.get_text().isascii():
                text.set_fontfamily(families())  # matplotlib takes each character from the first font that has it
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=80)
        return file.getvalue()
