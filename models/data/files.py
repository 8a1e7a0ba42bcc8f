"""The user's files: a folder with one sub-folder per label, and errors that say what to do. `keras_gates.edge` reads the files
themselves, so that a device reads them as training does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_gates.edge.text_files import decoded
from keras_gates.edge.tflite import EdgeError
from keras_gates.models.registry import UserError

PARTS = ("train", "validation", "test")


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turn the errors of the readers into `UserError`s; as a decorator or in a `with` statement."""
    try:
        yield
    except EdgeError as error:
        raise UserError(str(error)) from None


def labelled_files(
    folder: str | Path, suffixes: str | Sequence[str], besides: Sequence[str] = ()
) -> tuple[dict[str, tuple[list[Path], np.ndarray]], list[str]]:
    """List the files `folder/LABEL/*suffix`, or `folder/train/LABEL/*suffix`, `folder/validation/…` and `folder/test/…`. Names
    that start with a dot are ignored: they belong to the file system.

    Args:
        folder: with the sub-folders.
        suffixes: of the files, e.g. ".wav", in lower or upper case; or several.
        besides: names of sub-folders that are no label.

    Returns:
        (parts, labels): parts maps "train", "validation" and "test", or "all" if the folder is not split, to (paths, classes);
        the classes are an int32 array of indices into labels.

    Raises:
        UserError: no such folder, no sub-folders, fewer than two labels, a label without files, a part whose labels
            differ.

    Example:
        parts, labels = labelled_files("words", ".wav")
        paths, classes = parts["all"]
    """
    folder, suffixes = Path(folder), [suffixes] if isinstance(suffixes, str) else list(suffixes)
    kinds = " or ".join(suffixes)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; expected a folder with one sub-folder of {kinds} files per label")
    names = _folders(folder, besides)
    divided = [part for part in PARTS if part in names]
    if divided and not set(names) <= set(PARTS):
        strangers = ", ".join(sorted(set(names) - set(PARTS))[:3])
        raise UserError(f"{folder} contains both {', '.join(divided)} and {strangers}: either split all labels or none")
    if divided and "train" not in names:
        raise UserError(f"{folder} contains {', '.join(divided)} but no train; add it, or remove them")
    roots = {part: folder / part for part in divided} or {"all": folder}
    labels = _folders(next(iter(roots.values())), besides)
    if len(labels) < 2:
        raise UserError(
            f"{next(iter(roots.values()))} has {len(labels)} sub-folders; expected at least 2, one per label"
        )
    parts = {}
    for part, root in roots.items():
        if _folders(root, besides) != labels:
            differ = ", ".join(sorted(set(_folders(root, besides)) ^ set(labels)))
            raise UserError(f"{root} does not have the same labels as the other parts; these differ: {differ}")
        paths, classes = [], []
        for index, label in enumerate(labels):
            files = sorted(visible(root / label, suffixes))
            if not files:
                raise UserError(f"{root / label} has no {kinds} file; add some, or remove the folder")
            paths += files
            classes += [index] * len(files)
        parts[part] = paths, np.array(classes, "int32")
    return parts, labels


def visible(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files of a folder with these suffixes; not `._1.wav` and the like, which macOS writes next to `1.wav`.

    Args:
        folder: that exists.
        suffixes: in lower case.
    """
    return [path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith(".")]


def _folders(folder: Path, besides: Sequence[str] = ()) -> list[str]:
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in besides
    )


@user_errors()
def read_text(path: str | Path) -> str:
    """Read a text file, in UTF-8 or the encoding that charset-normalizer finds.

    Raises:
        UserError: there is no such file, or it is not text.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    return decoded(path.read_bytes(), path)
