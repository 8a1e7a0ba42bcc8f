"""Scale and offset of an output, which stay outside an integer graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Units:
    """What turns an output of the file into the model's: value · scale + offset.

    Attributes:
        scale, offset: float64, of the shape of one output without batch axis; length 1 for an axis along which they are constant.
    """

    scale: np.ndarray
    offset: np.ndarray

    def metadata(self) -> dict[str, Any]:
        """Return the entry of an output, as `keras_gates.edge.description` reads it."""
        scale, offset = self.scale.ravel().tolist(), self.offset.ravel().tolist()
        return {"shape": list(self.scale.shape), "scale": scale, "offset": offset}

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return outputs of the file, with their batch axis, in the model's units."""
        return (values * self.scale + self.offset).astype(np.float32)
