"""Starting from weights that are there: of a run, of a file, or of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_gates.models import registry
from keras_gates.models.registry import UserError


def start_from(model: Any, source: str, name: str, preset: str) -> str:
    """Copies weights layer by layer, by name, wherever the shapes are equal (a new answer layer for new classes starts
    fresh); says what was copied.

    Args:
        model: the fresh model.
        source: a run folder, a `.keras` file, or "shipped".
        name, preset: of the model in the zoo, for "shipped".

    Raises:
        UserError: there is no such file, or no layer fits.
    """
    old = registry.load(name, preset) if source == "shipped" else _load(Path(source))
    copied, fresh = [], []
    by_name = {layer.name: layer for layer in old.layers}
    for layer in model.layers:
        weights = layer.get_weights()
        if not weights:
            continue
        there = by_name[layer.name].get_weights() if layer.name in by_name else []
        if [w.shape for w in there] == [w.shape for w in weights]:
            layer.set_weights(there)
            copied.append(layer.name)
        else:
            fresh.append(layer.name)
    if not copied:
        raise UserError(f"no layer of {source} fits this model: its layers are {', '.join(by_name)}")
    return f"from {source}: {', '.join(copied)}" + (f"; starting fresh: {', '.join(fresh)}" if fresh else "")


def _load(path: Path) -> Any:
    import keras

    if path.is_dir():
        path = next(
            (path / name for name in ("model.keras", "best.keras") if (path / name).exists()), path / "model.keras"
        )
    if not path.is_file() or path.suffix != ".keras":
        raise UserError(f'--from-weights wants a run folder, a .keras file or "shipped"; {path} is none')
    return keras.saving.load_model(path, compile=False)
