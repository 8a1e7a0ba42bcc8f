"""TensorFlow Datasets, opened with errors that a newcomer can act on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from keras_gates.models.registry import UserError


def open_tfds(name: str, data_dir: str | Path | None = None) -> Any:
    """The prepared `tfds.core.DatasetBuilder` of `name`; it is downloaded and prepared first where it is not there yet.

    Args:
        name: as in the TFDS catalogue, e.g. "mnist" or "imdb_reviews/plain_text".
        data_dir: where data sets are kept; None is TFDS' own folder (~/tensorflow_datasets).

    Raises:
        UserError: the folder does not exist, TFDS does not know the name, or the data cannot be downloaded or prepared.

    Example:
        train = open_tfds("mnist", "../shared/tfds").as_dataset(split="train")
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError('TFDS data needs tensorflow-datasets: pip install -e ".[train]"') from error
    if data_dir is not None and not Path(data_dir).is_dir():
        raise UserError(
            f"there is no folder {data_dir} (--data-dir); make it, or name the one that holds your TFDS data"
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
    """A whole split as NumPy arrays, feature by feature: for data sets whose examples all have one shape and fit into
    memory."""
    import numpy as np
    import tensorflow_datasets as tfds

    batches = list(tfds.as_numpy(builder.as_dataset(split=split).batch(10_000)))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def attribution(builder: Any) -> str:
    """How TFDS asks for the data to be cited, on one line."""
    return " ".join(builder.info.citation.split())
