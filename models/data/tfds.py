"""TensorFlow Datasets, with errors that tell a newcomer what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.models.registry import UserError


def open_tfds(name: str, data_dir: str | Path | None = None) -> Any:
    """Return the prepared `tfds.core.DatasetBuilder` of a data set; download and prepare it first if necessary.

    Args:
        name: as in the TFDS catalogue, e.g. "mnist" or "imdb_reviews/plain_text".
        data_dir: folder of the data sets; None is TFDS' default (~/tensorflow_datasets).

    Raises:
        UserError: the folder does not exist, TFDS does not know the name, or the data cannot be downloaded or prepared.

    Example:
        train = open_tfds("mnist").as_dataset(split="train")
    """
    try:
        import logging

        import tensorflow_datasets as tfds  # optional, and slow to import
    except ImportError as error:
        raise UserError('TFDS data needs tensorflow-datasets: pip install -e ".[train]"') from error
    if data_dir is not None and not Path(data_dir).is_dir():
        raise UserError(
            f"there is no folder {data_dir} (--data-dir); create it, or give the one that contains your TFDS data"
        )
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise UserError(f"TFDS knows no data set {name!r}") from error
    if not builder.is_prepared():
        where = data_dir or "~/tensorflow_datasets"
        try:
            builder.download_and_prepare()
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise UserError(f"{name} is not in {where} and could not be downloaded ({reason[:160]})") from error
    return builder


def read(builder: Any, split: str) -> dict[str, Any]:
    """Return a whole split as NumPy arrays by feature. The examples must have one shape and fit into memory.

    Args:
        builder: of `open_tfds`.
        split: as TFDS names it, e.g. "train[:90%]".
    """
    batches = list(builder.as_dataset(split=split).batch(10_000).as_numpy_iterator())
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def attribution(builder: Any) -> str:
    """Return the citation that TFDS asks for, on one line."""
    return " ".join(builder.info.citation.split())
