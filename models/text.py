"""text: which class a text is of. Strings go in.

Built in are short reviews, generated; `--data tfds` is imdb_reviews (preset sentiment) or trec (preset questions), and
`--data PATH` your own texts, as a CSV file with the columns `text` and `label`, or as a folder with one sub-folder of
.txt files a label:

    python train.py text --data mails.csv           # text,label
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras_gates.models.registry import UserError, ZooModel

QUESTIONS = {"dataset": "trec"}
PRESETS = {
    "sentiment": {
        "about": "reviews, negative or positive: the last 300 words, read in both directions",
        "build": {"units": 64, "width": 32, "longest": 300},
        "data": {"words": 8000},
    },
    "sentiment-nano": {
        "about": "the same under 200 KB: 4,000 words, 200 of a text, read once",
        "build": {"units": 32, "width": 24, "longest": 200, "directions": 1},
        "data": {"words": 4000},
    },
    "questions": {
        "about": "questions by what they ask for",
        "build": {"units": 96, "width": 64, "longest": 40},
        "data": {**QUESTIONS, "words": 5000},
        "recipe": {"epochs": 20, "learning_rate": 2e-3},
    },
    "questions-nano": {
        "about": "the same under 200 KB",
        "build": {"units": 32, "width": 24, "longest": 40},
        "data": {**QUESTIONS, "words": 4000},
        "recipe": {"epochs": 25, "learning_rate": 3e-3},
    },
}

RECIPE = {
    "epochs": 4,
    "batch_size": 64,
    "learning_rate": 2e-3,
    "schedule": "cosine",
    "warmup": 0.05,
    "clipnorm": 1.0,
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
    "monitor": "val_accuracy",
}

PUBLISHED = (
    {
        "figure": "IMDB, accuracy",
        "value": "87.8 %",
        "source": "Keras' own example, bidirectional LSTM on IMDB",
        "protocol": "its validation is the official test split; the first 200 words",
    },
    {
        "figure": "TREC, 6 classes, test accuracy",
        "value": "91.2 %",
        "source": "Kim 2014, Convolutional neural networks for sentence classification, CNN-rand",
        "protocol": "official test split, words from random vectors",
    },
)


def build(
    vocabulary: Any = ("", "[UNK]"),
    classes: int = 2,
    longest: int = 400,
    width: int = 32,
    units: int = 64,
    directions: int = 2,
    dropout: float = 0.4,
    word_dropout: float = 0.1,
    formulation: str = "standard",
) -> Any:
    """Texts (batch,), strings, to probabilities (batch, classes).

    Args:
        vocabulary: the word behind each number, "" and "[UNK]" first.
        classes: how many there are.
        longest: how many words of a text are read, its last ones.
        width: of a word's vector.
        units: of the GateLSTM, of each direction.
        directions: 1 reads forwards, 2 backwards as well.
        dropout: of the words' vectors and before the answer.
        word_dropout: share of the words that are left out while training.
        formulation: "standard" or "article".
    """
    import keras
    from keras_gates.models.words import Words

    from keras_gates import GateLSTM

    text = keras.Input((), dtype="string", name="text")
    layers = [
        Words(vocabulary, longest, name="words"),
        keras.layers.Embedding(len(vocabulary), width, name="meaning"),
        keras.layers.Dropout(word_dropout, noise_shape=(None, None, 1), name="word_dropout"),
        keras.layers.SpatialDropout1D(dropout / 2, name="meaning_dropout"),
        GateLSTM(units, return_sequences=True, formulation=formulation, name="memory"),
        keras.layers.GlobalMaxPooling1D(name="read"),
        keras.layers.Dropout(dropout, name="dropout"),
        keras.layers.Dense(classes, activation="softmax", dtype="float32", name="class"),
    ]
    if directions == 2:
        layers[4] = keras.layers.Bidirectional(layers[4], name="memory_both_ways")
    answer = text
    for layer in layers:
        answer = layer(answer)
    return keras.Model(text, answer, name="text")


def device(model: Any, precision: str = "float32") -> tuple[Any, Any, dict[str, Any]]:
    """The device's share: numbers of words (batch, longest) in; `keras_gates.edge` makes them of a text with the
    file's vocabulary."""
    import keras

    words = model.get_layer("words")
    numbers = keras.Input((words.longest,), dtype="int32", name="words")
    answer = numbers
    for layer in model.layers[model.layers.index(words) + 1 :]:
        answer = layer(answer)

    def prepare(texts: Any) -> np.ndarray:
        rows = np.array(words(np.asarray(texts, "object").astype("str")))
        return np.pad(rows, ((0, 0), (0, words.longest - rows.shape[1])))

    frontend = {"standardize": "lower_and_strip_punctuation", "split": "whitespace", "longest": words.longest}
    return keras.Model(numbers, answer, name="text_on_device"), prepare, {"frontend": frontend}


def data(
    source: str = "builtin",
    data_dir: str | None = None,
    seed: int = 0,
    dataset: str = "imdb_reviews",
    words: int = 8000,
) -> Any:
    """Generated reviews ("builtin"), imdb_reviews or trec ("tfds"), or the user's CSV file or folder of texts.

    Args:
        dataset: "imdb_reviews", "trec" (6 classes) or "trec-fine" (47), where source is "tfds".
        words: size of the vocabulary, at most.
    """
    from keras_gates.models.data import text
    from keras_gates.models.data.pipeline import SPLITS, Data

    if source == "builtin":
        texts = text.generated_reviews(seed)
    elif source != "tfds":
        texts = text.own_texts(source)
    elif dataset == "imdb_reviews":
        texts = text.imdb_reviews(data_dir)
    elif dataset in ("trec", "trec-fine"):
        texts = text.trec(data_dir, "fine" if dataset == "trec-fine" else "coarse")
    else:
        raise UserError(f'dataset must be "imdb_reviews", "trec" or "trec-fine", not {dataset!r}')
    import tensorflow as tf

    vocabulary = text.vocabulary(texts.train[0], words)
    splits = {part: tf.data.Dataset.from_tensor_slices(split) for part, split in zip(SPLITS, texts.splits())}

    def batches(split: str, batch_size: int, seed: Any) -> Any:
        if split != "train":
            return splits[split].batch(batch_size)
        examples = splits[split].shuffle(100_000, seed=seed, reshuffle_each_iteration=False)
        return alike(examples, batch_size).shuffle(1000, seed=seed, reshuffle_each_iteration=False)

    return Data(
        **splits,
        labels=texts.labels,
        vocabulary=vocabulary,
        build={"vocabulary": vocabulary, "classes": len(texts.labels)},
        batches=batches,
        show=lambda x, y: x.decode() if isinstance(x, bytes) else str(x),
        **texts.about,
    )


def alike(examples: Any, batch_size: int) -> Any:
    """Batches of texts of similar length, so that little is padding."""
    import tensorflow as tf

    return examples.bucket_by_sequence_length(
        lambda text, *_: tf.size(tf.strings.split(text)),
        bucket_boundaries=[10, 20, 50, 100, 150, 200, 250, 300, 400],
        bucket_batch_sizes=[batch_size] * 10,
    )


MODEL = ZooModel(
    name="text",
    line="which class a text is of",
    task="texts",
    build=build,
    data=data,
    presets=PRESETS,
    recipe=RECIPE,
    builtin="1,500 generated reviews, negative or positive",
    tfds=("imdb_reviews", "trec"),
    files="a CSV file with the columns text and label, or a folder with one sub-folder of .txt files a label",
    published=PUBLISHED,
    device=device,
)
