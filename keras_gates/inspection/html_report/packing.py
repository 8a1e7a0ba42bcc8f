"""Arrays as the page stores them: a byte or two per number, in base64."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np


def packed(array: np.ndarray) -> dict[str, Any]:
    """Encode an array for the page.

    Args:
        array: Any shape; NaN becomes 0.

    Returns:
        A dict with `shape`, `base64`, `kind` ("share": bytes for 0 to 1; "signed": signed bytes of `scale` for -1 to 1; "half":
        float16) and `scale`. `unpacked` in page/data.js decodes it.
    """
    array = np.asarray(array, "float64")
    low, high, scale = np.nanmin(array, initial=0), np.nanmax(array, initial=0), 1.0
    if low >= 0 and high <= 1:
        kind, values = "share", np.nan_to_num(array * 255).round().astype("uint8")
    elif low >= -1 and high <= 1:
        scale = max(-low, high)
        kind, values = "signed", np.nan_to_num(array / scale * 127).round().astype("int8")
    else:
        kind, values = "half", np.nan_to_num(np.clip(array, -65504, 65504)).astype("<f2")
    return {
        "kind": kind,
        "scale": scale,
        "shape": list(array.shape),
        "base64": base64.b64encode(values.tobytes()).decode(),
    }
