"""What the contenders of `benchmarks/layers.py` take, side by side: ratios, and their geometric means over the shapes."""

from __future__ import annotations

from math import exp, log


def ratio(row: dict, kind: str, by: str, ours: list[str], theirs: list[str]) -> float | None:
    """The best of `ours` over the best of `theirs`, or None where one side is missing."""
    sides = [[row[kind][name][by] for name in names if name in row[kind]] for names in (ours, theirs)]
    return min(sides[0]) / min(sides[1]) if all(sides) else None


GATE = ["GateLSTM"]
KERAS = ["keras.layers.LSTM", "keras.layers.LSTM XLA"]
TORCH = ["torch.nn.LSTM", "torch.nn.LSTM, one thread"]
RATIOS = {
    "GateLSTM / Keras' default": (GATE, KERAS[:1]),
    "GateLSTM / Keras at its best": (GATE, KERAS),
    "GateLSTM / torch.nn.LSTM at its best": (GATE, TORCH),
    "article / standard": (["GateLSTM article"], GATE),
    "bare matmuls / GateLSTM": (["bare matmuls"], GATE),
}


def mean(values: list[float]) -> float:
    """Geometric."""
    return exp(sum(map(log, values)) / len(values))


def summary(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Geometric means over the shapes."""
    found: dict[str, dict[str, float]] = {}
    for name, (ours, theirs) in RATIOS.items():
        for kind in ("forward", "train"):
            for by in ("wall", "best", "processor"):
                values = [r for row in rows if (r := ratio(row, kind, by, ours, theirs)) is not None]
                if values:
                    found.setdefault(name, {})[f"{kind} {by}"] = mean(values)
    return found
