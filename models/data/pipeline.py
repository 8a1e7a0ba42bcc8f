"""`Data`: what a model's loader gives train.py, and the batches made of it.

The order of the examples and every augmentation follow from (seed, epoch) alone, so that an interrupted run can be
continued to the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Data:
    """Examples for training, and what is to be known of them.

    Attributes:
        train, validation, test: `tf.data.Dataset` of single examples (x, y) or (x, y, weight), in a fixed order, not
            augmented. x is what the model takes, without the batch dimension; its first dimension may vary where
            `boundaries` is given.
        labels: the names of the classes, or ().
        vocabulary: the tokens, or ().
        build: arguments of the model's `build` that the data dictates, e.g. {"classes": 10}.
        name, attribution, licence, split: of the data; they go into the report and the card. `split` says which examples are for
            training, validation and test.
        augment: (x, y, seed) → (x, y) in TensorFlow operations, for one training example; seed is an int64 tensor of
            shape (2,) for `tf.random.stateless_*`.
        augment_batch: the same over a whole batch (after padding).
        boundaries: lengths of x, as in `tf.data.Dataset.bucket_by_sequence_length`; None where all have one shape.
        batches: (split, batch_size, seed) → Dataset of batches, instead of the default (a language model that carries
            its state over); seed is an int64 scalar, 0 for validation and test.
        shuffle: how many examples the shuffling looks at at once; the default holds all that fit.
        show: (x, y) → what a person can look at: text, or a uint8 picture (height, width, 3); None where x will do.
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

    def epoch(self, batch_size: int, seed: int, epoch: Any) -> Any:
        """The training batches of one epoch, shuffled and augmented by (seed, epoch); `epoch` may be a tensor."""
        import tensorflow as tf

        drawn = tf.cast(epoch, tf.int64) * 1_000_003 + seed
        if self.batches is not None:
            return self.batches("train", batch_size, drawn)
        examples = self.train.shuffle(self.shuffle, seed=drawn, reshuffle_each_iteration=False)
        if self.augment is not None:
            examples = _augmented(examples, self.augment, drawn)
        batches = _batched(examples, batch_size, self.boundaries)
        if self.augment_batch is not None:
            batches = _augmented(batches, self.augment_batch, drawn)
        return batches

    def training(self, batch_size: int, seed: int, clock: Callable[[], int]) -> Any:
        """A dataset that gives, each time it is iterated, the batches of the epoch that `clock()` names at that
        moment."""
        import tensorflow as tf

        def now():
            yield clock()

        epochs = tf.data.Dataset.from_generator(now, output_signature=tf.TensorSpec((), tf.int64))
        batches = epochs.flat_map(lambda epoch: self.epoch(batch_size, seed, epoch))
        steps = self.epoch(batch_size, seed, 0).cardinality()
        if steps > 0:
            batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
        return batches.prefetch(tf.data.AUTOTUNE)

    def held_out(self, split: str, batch_size: int) -> Any:
        """The batches of the validation or test split, in their fixed order."""
        if self.batches is not None:
            return self.batches(split, batch_size, 0)
        return _batched(getattr(self, split), batch_size, self.boundaries, keep_order=True).prefetch(2)

    def arrays(self, split: str, limit: int) -> tuple[Any, Any]:
        """The first `limit` examples of a split as NumPy (x, y); sequences of different length are padded with zeros
        (text with "")."""
        return next(iter(getattr(self, split).take(limit).padded_batch(limit).as_numpy_iterator()))[:2]

    def spread(self, split: str, limit: int) -> tuple[Any, Any]:
        """As `arrays`: examples evenly from the whole split, where its length is known. What is in order (a series, a text) shows
        all its seasons only so."""
        examples = getattr(self, split)
        step = max(1, int(examples.cardinality()) // limit)
        return next(iter(examples.shard(step, 0).take(limit).padded_batch(limit).as_numpy_iterator()))[:2]

    def telling(self, limit: int) -> tuple[Any, Any]:
        """As `arrays`: test examples that show what the model is about; here the first."""
        return self.arrays("test", limit)


def _augmented(examples: Any, augment: Callable[..., Any], drawn: Any) -> Any:
    import tensorflow as tf

    def one(index, example):
        return (*augment(*example[:2], tf.stack([drawn, index])), *example[2:])

    return examples.enumerate().map(one, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _batched(examples: Any, batch_size: int, boundaries: Sequence[int] | None, keep_order: bool = False) -> Any:
    if boundaries is None:
        return examples.batch(batch_size)
    if keep_order:
        return examples.padded_batch(batch_size)
    import tensorflow as tf

    return examples.bucket_by_sequence_length(
        lambda x, *_: tf.shape(x)[0], list(boundaries), [batch_size] * (len(boundaries) + 1)
    )


def from_arrays(train: tuple, validation: tuple, test: tuple, **rest: Any) -> Data:
    """`Data` of NumPy arrays: each split is (x, y).

    Example:
        data = from_arrays((x, y), (x_val, y_val), (x_test, y_test), labels=["cat", "dog"], name="pets")
    """
    import tensorflow as tf

    return Data(*(tf.data.Dataset.from_tensor_slices(split) for split in (train, validation, test)), **rest)
