"""`Data`: what a model's loader returns, and the batches made of it.

The order of the examples and every augmentation follow from (seed, epoch) alone, so that an interrupted run can be resumed and
ends with the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_gates.models.lazy import tf

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Data:
    """Examples in three splits, and their description.

    Attributes:
        train, validation, test: `tf.data.Dataset` of single examples (x, y) or (x, y, weight), in a fixed order, not
            augmented. x is the model's input without the batch dimension; its first dimension may vary if `boundaries` is
            given.
        labels: the names of the classes, or ().
        vocabulary: the tokens, or ().
        build: arguments of the model's `build` that follow from the data, e.g. {"classes": 10}.
        name, attribution, licence, split: of the data, for the report and the card. `split` describes which examples are for
            training, validation and test.
        augment: (x, y, seed) → (x, y) in TensorFlow operations, for one training example; seed is an int64 tensor of shape
            (2,) for `tf.random.stateless_*`.
        augment_batch: the same for a whole batch, after padding.
        boundaries: lengths of x, as in `tf.data.Dataset.bucket_by_sequence_length`; None if all have one shape.
        batches: (split, batch_size, seed) → Dataset of batches, instead of the default, e.g. for a stateful language model;
            seed is an int64 scalar, 0 for validation and test.
        shuffle: buffer size of the shuffling.
        show: (x, y) → a text or a uint8 picture (height, width, 3) for people; None if x itself will do.
        notes: what was understood of the user's files, one sentence each, for the screen and the report.
        table: how a device reads the user's kind of file (`keras_gates.edge.examples`), for the metadata of exported files.
        class_weights: weight of each class in the loss, or None.
    """

    train: Any
    validation: Any
    test: Any
    labels: Sequence[str] = ()
    vocabulary: Sequence[str] = ()
    build: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    attribution: str = ""
    licence: str = ""
    split: str = ""
    augment: Callable[..., Any] | None = None
    augment_batch: Callable[..., Any] | None = None
    boundaries: Sequence[int] | None = None
    batches: Callable[..., Any] | None = None
    shuffle: int = 100_000
    show: Callable[..., Any] | None = None
    notes: Sequence[str] = ()
    table: Mapping[str, Any] = field(default_factory=dict)
    class_weights: Mapping[int, float] | None = None

    def epoch(self, batch_size: int, seed: int, epoch: Any) -> Any:
        """Return the training batches of one epoch, shuffled and augmented by (seed, epoch).

        Args:
            batch_size: examples per batch.
            seed: random seed.
            epoch: counted from 0; may be a tensor.
        """
        epoch_seed = tf.cast(epoch, tf.int64) * 1_000_003 + seed
        if self.batches is not None:
            return self.batches("train", batch_size, epoch_seed)
        examples = self.train.shuffle(self.shuffle, seed=epoch_seed, reshuffle_each_iteration=False)
        if self.augment is not None:
            examples = _augmented(examples, self.augment, epoch_seed)
        batches = _batched(examples, batch_size, self.boundaries)
        if self.augment_batch is not None:
            batches = _augmented(batches, self.augment_batch, epoch_seed)
        return batches

    def training(self, batch_size: int, seed: int, clock: Callable[[], int]) -> Any:
        """Return a dataset that yields, whenever it is iterated, the batches of the current epoch. `Model.fit` iterates the same
        dataset in every epoch.

        Args:
            batch_size: examples per batch.
            seed: random seed.
            clock: returns the current epoch.
        """

        def current():
            yield clock()

        epochs = tf.data.Dataset.from_generator(current, output_signature=tf.TensorSpec((), tf.int64))
        batches = epochs.flat_map(lambda epoch: self.epoch(batch_size, seed, epoch))
        steps = self.epoch(batch_size, seed, 0).cardinality()
        if steps > 0:
            batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
        return batches.prefetch(tf.data.AUTOTUNE)

    def held_out(self, split: str, batch_size: int) -> Any:
        """Return the batches of a split in their fixed order.

        Args:
            split: "validation" or "test".
            batch_size: examples per batch.
        """
        if self.batches is not None:
            return self.batches(split, batch_size, 0)
        return _batched(getattr(self, split), batch_size, self.boundaries, keep_order=True).prefetch(2)

    def arrays(self, split: str, limit: int) -> tuple[Any, Any]:
        """Return the first examples of a split as NumPy (x, y); shorter sequences are padded with zeros (texts with "").

        Args:
            split: one of `SPLITS`.
            limit: number of examples.
        """
        return next(iter(getattr(self, split).take(limit).padded_batch(limit).as_numpy_iterator()))[:2]

    def spread(self, split: str, limit: int) -> tuple[Any, Any]:
        """As `arrays`, but with examples evenly spaced over the whole split if its length is known: the first windows of a series
        are all from one season."""
        examples = getattr(self, split)
        step = max(1, int(examples.cardinality()) // limit)
        return next(iter(examples.shard(step, 0).take(limit).padded_batch(limit).as_numpy_iterator()))[:2]

    def illustrative(self, limit: int) -> tuple[Any, Any]:
        """As `arrays`, but with test examples that illustrate what the model does; here the first ones."""
        return self.arrays("test", limit)


def _augmented(examples: Any, augment: Callable[..., Any], epoch_seed: Any) -> Any:
    def one(index, example):
        return (*augment(*example[:2], tf.stack([epoch_seed, index])), *example[2:])

    return examples.enumerate().map(one, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _batched(examples: Any, batch_size: int, boundaries: Sequence[int] | None, keep_order: bool = False) -> Any:
    if boundaries is None:
        return examples.batch(batch_size)
    if keep_order:
        return examples.padded_batch(batch_size)
    return examples.bucket_by_sequence_length(
        lambda x, *_: tf.shape(x)[0], list(boundaries), [batch_size] * (len(boundaries) + 1)
    )


def from_arrays(train: tuple, validation: tuple, test: tuple, /, **rest: Any) -> Data:
    """Return `Data` of NumPy arrays.

    Args:
        train, validation, test: (x, y). An x that is a `numpy.memmap` stays on disk.
        **rest: the other attributes of `Data`.

    Example:
        data = from_arrays((x, y), (x_val, y_val), (x_test, y_test), labels=["cat", "dog"], name="pets")
    """
    datasets = {name: _examples(*split) for name, split in zip(SPLITS, (train, validation, test))}
    return Data(**datasets, **rest)


def _examples(x: Any, y: Any) -> Any:
    """A dataset of examples; those on disk are read one by one, instead of being copied into TensorFlow's memory."""
    if not isinstance(x, np.memmap):
        return tf.data.Dataset.from_tensor_slices((x, y))

    def read(index: Any, target: Any) -> tuple[Any, Any]:
        example = tf.numpy_function(lambda place: np.array(x[place]), [index], x.dtype, stateful=False)
        return tf.ensure_shape(example, x.shape[1:]), target

    return tf.data.Dataset.from_tensor_slices((np.arange(len(x)), y)).map(read)


def class_weights(classes: Any) -> dict[int, float] | None:
    """Return weights that make rare classes count more, by the square root of their frequency, with mean 1 over the examples;
    None if the classes are about equally frequent.

    Args:
        classes: (examples,), int.

    Example:
        class_weights(np.array([0] * 9 + [1]))    # {0: 0.83, 1: 2.5}
    """
    counts = np.bincount(classes)
    if not counts.min() or counts.max() <= 1.5 * counts.min():
        return None
    weights = counts**-0.5
    return {index: float(weight) for index, weight in enumerate(weights * counts.sum() / (weights * counts).sum())}
