"""Starts training from existing weights: of a run, of a file, or of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_gates.models import registry
from keras_gates.models.lazy import keras
from keras_gates.models.registry import UserError


def start_from(model: Any, source: str, name: str, preset: str) -> str:
    """Copy weights into a model, layer by layer and by name, wherever all shapes are equal. Other layers, such as an output
    layer for other classes, keep their initial weights.

    Args:
        model: the fresh model.
        source: a run folder, a `.keras` file, or "shipped".
        name, preset: of the model in the zoo, for "shipped".

    Returns:
        A line that names the copied and the other layers.

    Raises:
        UserError: there is no such file, or no layer fits.
    """
    trained = registry.load(name, preset) if source == "shipped" else _load(Path(source))
    by_name = {layer.name: layer for layer in trained.layers}
    copied, initial = [], []
    for layer in model.layers:
        weights = layer.get_weights()
        if not weights:
            continue
        candidates = by_name[layer.name].get_weights() if layer.name in by_name else []
        if [w.shape for w in candidates] == [w.shape for w in weights]:
            layer.set_weights(candidates)
            copied.append(layer.name)
        else:
            initial.append(layer.name)
    if not copied:
        raise UserError(f"no layer of {source} fits this model; its layers: {', '.join(by_name)}")
    rest = f"; with initial weights: {', '.join(initial)}" if initial else ""
    return f"weights from {source}: {', '.join(copied)}{rest}"


def _load(path: Path) -> Any:
    if path.is_dir():
        files = [path / name for name in ("model.keras", "best.keras")]
        path = next((file for file in files if file.exists()), files[0])
    if not path.is_file() or path.suffix != ".keras":
        raise UserError(f'--from-weights expects a run folder, a .keras file or "shipped"; {path} is none of them')
    return keras.saving.load_model(path, compile=False)
