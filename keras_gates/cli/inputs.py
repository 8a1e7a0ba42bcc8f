"""What the device commands read, from ``.npy``, ``.npz``, tables, sound or standard input, and the arrays they write."""

from __future__ import annotations

import csv
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates._files import replace_file
from keras_gates.edge import EdgeError, EdgeModel
from keras_gates.edge import sound as sounds
from keras_gates.edge.examples import read_examples
from keras_gates.edge.frontends import log_mel
from keras_gates.edge.tables import SUFFIXES


def read_batch(model: EdgeModel, source: str) -> Any:
    """Return what `EdgeModel.predict` takes.

    Args:
        model: The file to predict with.
        source: Path of an ``.npy``, ``.npz``, table, sound or text file, or ``-`` for standard input.

    Raises:
        EdgeError: The source cannot be read, or does not fit the model.
    """
    kind = Path(source).suffix.lower()
    if kind == ".npz":
        return {name: _with_batch(model, array, name) for name, array in read_arrays(Path(source)).items()}
    if kind == ".npy":
        return _with_batch(model, read_arrays(Path(source))["array"])
    if kind in sounds.SUFFIXES:
        return _read_recording(model, source)[None]
    if kind in SUFFIXES and model.description.table:
        return read_examples(model.description, source)
    if model.description.vocabulary:
        return [line for line in read_lines(source) if line.strip()]
    return _with_batch(model, np.array(list(read_rows(source))))


def read_events(model: EdgeModel, source: str) -> Iterable[Any]:
    """Return what `Stream.push` takes, event by event, as the source delivers it.

    Args:
        model: The file to stream through.
        source: Path of an ``.npy``, table, sound or text file, or ``-`` for standard input.

    Raises:
        EdgeError: The source cannot be read, or does not fit the model.
    """
    kind, stride = Path(source).suffix.lower(), model.description.stride
    if kind not in (".npy", ".npz", *sounds.SUFFIXES):
        if model.description.vocabulary:
            return (token for line in read_lines(source) if line.strip() for token in model.events(line))
        rows = map(model.events, read_rows(source)) if model.description.scales else read_rows(source)
        return rows if stride == 1 else (np.array(block) for block in zip(*[rows] * stride))
    if kind == ".npz":
        raise EdgeError("stream takes one input: give an .npy of shape (time, features).")
    events = (
        _read_recording(model, source, whole=True) if kind in sounds.SUFFIXES else read_arrays(Path(source))["array"]
    )
    return (events[i] if stride == 1 else events[i : i + stride] for i in range(0, len(events) - stride + 1, stride))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an ``.npy`` (as "array") or the arrays of an ``.npz``.

    Raises:
        EdgeError: The file is missing, damaged, or holds pickled objects.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        return {"array": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except MemoryError:
        raise EdgeError(f"{path}: its header promises an array larger than the memory.") from None
    except Exception as error:  # damaged files raise errors of zipfile, zlib, struct, tokenize, …
        if "allow_pickle" in str(error):
            raise EdgeError(
                f"{path} holds Python objects (text, lists of different length), not numbers: save an array of numbers per input."
            ) from None
        raise EdgeError(f"{path}: expected an array that numpy.save or numpy.savez wrote; {error}") from None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an ``.npy`` for one array, an ``.npz`` for several (or if the path ends so), whole or not at all.

    Raises:
        OSError: The folder is missing, full or read-only.
    """
    with replace_file(path) as temporary, open(temporary, "wb") as file:
        if path.suffix != ".npz" and len(arrays) == 1:
            np.save(file, next(iter(arrays.values())), allow_pickle=False)
            return
        # Not numpy.savez: it takes names as keyword arguments, and an output may be called "file".
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def read_lines(source: str) -> Iterator[str]:
    """Yield the lines of a text file or, for ``-``, of standard input.

    Raises:
        EdgeError: The file is missing or is not UTF-8.
    """
    try:
        if source == "-":
            yield from (line.rstrip("\n") for line in sys.stdin)
        else:
            with open(source, encoding="utf-8", newline="") as file:
                yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeError(f"cannot read {source!r} as text: {error}") from None


def read_rows(source: str) -> Iterator[np.ndarray]:
    """Yield the rows of a CSV as float32 (columns,); a header is skipped.

    Args:
        source: Path of the CSV, or ``-`` for standard input.

    Raises:
        EdgeError: The file cannot be read, is not valid CSV, holds no numbers, or its rows differ in length.
    """
    width = None
    try:
        for number, row in enumerate(csv.reader(read_lines(source)), 1):
            if not row or not any(row):
                continue
            try:
                with np.errstate(over="ignore"):
                    values = np.array([float(cell) for cell in row]).astype(np.float32)
            except ValueError:
                if number == 1 and not any(_is_number(cell) for cell in row):
                    continue
                raise EdgeError(f"{source}, line {number}: expected numbers, got {','.join(row)[:60]!r}.") from None
            width = width or len(values)
            if len(values) != width:
                raise EdgeError(f"{source}, line {number}: expected {width} numbers, got {len(values)}.")
            yield values
    except csv.Error as error:
        raise EdgeError(f"{source} is not valid CSV: {error}.") from None
    if width is None:
        raise EdgeError(f"{source} holds no numbers.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_batch(model: EdgeModel, array: np.ndarray, name: str | None = None) -> np.ndarray:
    ports = model.description.events
    port = next((port for port in ports if port.name == name), ports[0])
    array = model.events(array) if model.description.scales else array
    return array[None] if array.ndim == len(port.tensor.shape) - 1 else array


def _read_recording(model: EdgeModel, source: str, *, whole: bool = False) -> np.ndarray:
    """Read audio as the model takes it: log-mel events or samples; unless `whole`, its loudest part or padded, as in
    training. It is resampled to the rate of the model."""
    description, port = model.description, model.description.events[0]
    expected = description.frontend.get("sample_rate")
    sound, _ = sounds.read_wav(source, expected if isinstance(expected, int) else None)
    if not description.hears and len(port.tensor.shape) != 2:
        raise EdgeError(f"this model takes {port.text}, not sound.")
    samples = log_mel(description.frontend).samples(port.tensor.shape[1]) if description.hears else port.tensor.shape[1]
    if not whole:
        sound = sounds.windows([sound], samples)[0]
    return model.events(sound) if description.hears else sound
