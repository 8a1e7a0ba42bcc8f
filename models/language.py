"""language: the next character or word of a text; the model also generates text.

Built in is the source code of Python's standard library; `--data tfds` is tiny_shakespeare, and `--data PATH` a text file, or a
folder in the layout of the Penn Treebank:

    python train.py language --data my_book.txt
    python train.py language --preset zaremba-small --data ptb/     # ptb.train.txt, ptb.valid.txt, ptb.test.txt
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import keras_gates
from keras_gates.models import layers as zoo_layers
from keras_gates.models.data import corpus
from keras_gates.models.data.pipeline import SPLITS, Data
from keras_gates.models.lazy import keras, tf
from keras_gates.models.registry import DeviceModel, Judgement, UserError, ZooModel
from keras_gates.models.training.recipe import decays, learning_rate

FEWER_EPOCHS = {"builtin": {"epochs": 3}}
ZAREMBA = {"units": 200, "layers": 2, "width": 200, "batch": 20, "uniform": 0.1}
ZAREMBAS_RECIPE = {
    "batch_size": 20,
    # Our loss is the mean over the 20 time steps, theirs the sum: learning rate 1.0 × 20, gradient clipping 5 / 20.
    "optimizer": "sgd",
    "learning_rate": 20.0,
    "schedule": "halved",
    "clipnorm": 0.25,
}
PRESETS: dict[str, dict[str, Any]] = {
    "base": {
        "about": "the next character: one layer of 256",
        "build": {"units": 256, "batch": 32},
        "recipe_for": FEWER_EPOCHS,
    },
    "large": {
        "about": "one layer of 448, under 1 MB in int8, with averaged weights; no weights are shipped",
        "build": {"units": 448, "batch": 32, "dropout": 0.5, "input_dropout": 0.1},
        "data": {"steps": 100},
        "recipe": {"epochs": 28, "average": 0.999, "fresh_rows": 0.25, "weight_decay": 0.1},
    },
    "small": {"about": "one layer of 128", "build": {"units": 128, "width": 32, "batch": 32, "dropout": 0.1}},
    "nano": {"about": "for a microcontroller", "build": {"units": 64, "width": 16, "batch": 32, "dropout": 0.0}},
    "zaremba-small": {
        "about": "the next word: the small network of Zaremba et al. 2014",
        "build": {**ZAREMBA, "dropout": 0.0, "input_dropout": 0.0},
        "data": {"unit": "word", "steps": 20},
        "recipe": {**ZAREMBAS_RECIPE, "epochs": 13},
    },
    "words": {
        "about": "the next word: the same with dropout",
        "build": {**ZAREMBA, "dropout": 0.25, "input_dropout": 0.1},
        "data": {"unit": "word", "steps": 20},
        "recipe": {**ZAREMBAS_RECIPE, "epochs": 10},
    },
}

RECIPE = {"epochs": 12, "batch_size": 32, "learning_rate": 3e-3, "schedule": "cosine", "warmup": 0.02, "clipnorm": 1.0}

PUBLISHED = (
    {
        "figure": "Penn Treebank, words, perplexity valid / test",
        "value": "120.7 / 114.5",
        "source": "Zaremba et al. 2014, non-regularized LSTM (small)",
        "protocol": "2 × 200, batch 20, 20 steps, state carried over, SGD 1.0 halved after epoch 4, clip 5, 13 epochs",
    },
)


TRIED = (
    "Words of tiny_shakespeare (the Penn Treebank is not free), one run each, seed 0, perplexity on the test split: zaremba "
    "97.5 (it overfits after epoch 5 of 13); words, the same with dropout and ten epochs, 92.3.",
    "Characters, preset large: 2.151, 2.146 and 2.143 bits on the test split (seeds 0 to 2, by benchmarks/language_gpu.py on an "
    "H200), in int8 966 KB and 0.002 more. Chosen by bits on the validation split after 27 of 40 epochs, one run each: one layer "
    "of 448 1.957; a dropout mask for all steps 1.957; dropout 0.6 1.974; weight decay 0.3 2.017; weight drop 0.3 2.013; "
    "two layers of 272 2.019. Averaging the weights is worth 0.01.",
    "Integers: the softmax in steps of 1/256 cost 0.2 bits per character; in 16 bits what remains is the clip of the event's "
    "part of a gate's sum at ±8 (`keras_gates.quantization_report`).",
)


def build(
    vocabulary: Any = ("<unk>",),
    units: int = 256,
    layers: int = 1,
    width: int = 64,
    dropout: float = 0.2,
    input_dropout: float = 0.05,
    uniform: float = 0.0,
    saturation: float | None = None,
    batch: int | None = None,
    formulation: str = "standard",
) -> Any:
    """Build the model: indices of characters or words (batch, time) to probabilities of each next one (batch, time,
    vocabulary).

    Args:
        vocabulary: the character or word of each index.
        units: of each GateLSTM.
        layers: number of stacked GateLSTM.
        width: embedding size.
        dropout: rate between the layers and before the output layer.
        input_dropout: rate of the embeddings.
        uniform: if above 0, initialise all weights uniformly between −uniform and uniform, and the biases with 0.
        saturation: of each GateLSTM: trains as int8 files clip; 8, or None.
        batch: a fixed batch size; every batch continues the one before (`stateful`). None starts every batch with zero states.
        formulation: "standard" or "article".

    Returns:
        A `keras.Model`, not compiled.
    """
    dense_start: dict[str, Any] = {}
    memory_start: dict[str, Any] = {}
    if uniform:
        initializer = keras.initializers.RandomUniform(-uniform, uniform)
        dense_start = {"kernel_initializer": initializer}
        memory_start = {**dense_start, "recurrent_initializer": initializer, "unit_forget_bias": False}
    numbers = keras.Input((None,), batch_size=batch, dtype="int32", name="numbers")
    alphabet = zoo_layers.Alphabet(
        vocabulary, width, embeddings_initializer=dense_start.get("kernel_initializer", "uniform"), name="alphabet"
    )
    events = alphabet(numbers)
    events = keras.layers.Dropout(input_dropout, name="input_dropout")(events)
    for layer in range(layers):
        events = keras_gates.GateLSTM(
            units,
            return_sequences=True,
            stateful=batch is not None,
            formulation=formulation,
            saturation=saturation,
            name=f"memory_{layer + 1}",
            **memory_start,
        )(events)
        events = keras.layers.Dropout(dropout, name=f"dropout_{layer + 1}")(events)
    output = keras.layers.Dense(len(vocabulary), activation="softmax", dtype="float32", name="next", **dense_start)
    return keras.Model(numbers, output(events), name="language")


def with_batch(model: Any, batch: int | None) -> Any:
    """Return a copy of a model with the same weights for another batch size.

    Args:
        model: a model of `build`.
        batch: the fixed batch size of a stateful model; None for any batch size, each batch starting with zero states.
    """
    numbers = keras.Input((None,), batch_size=batch, dtype="int32", name="numbers")
    output = numbers
    for layer in model.layers[1:]:
        config = layer.get_config()
        for part in (config, config.get("layer", {}).get("config", {})):  # the second of a layer trained in integers
            if "stateful" in part:
                part["stateful"] = batch is not None
        output = layer.__class__.from_config(config)(output)
    copy = keras.Model(numbers, output, name=model.name)
    copy.set_weights(model.get_weights())
    return copy


def data(
    source: str = "builtin",
    data_dir: str | None = None,
    seed: int = 0,
    unit: str = "character",
    size: int = 10_000,
    steps: int = 50,
) -> Data:
    """Load Python's standard library ("builtin"), tiny_shakespeare ("tfds"), a text file or a folder in the layout of the Penn
    Treebank.

    Args:
        source: "builtin", "tfds", or a path.
        data_dir: folder of the TFDS data sets.
        seed: unused: the data do not depend on it.
        unit: "character" or "word".
        size: maximum size of the vocabulary.
        steps: time steps per batch; states are carried over to the next batch, gradients are not.

    Raises:
        UserError: a value is out of range, or the text cannot be read or is too short.
    """
    if steps < 1:
        raise UserError(f"steps must be at least 1, not {steps}: a batch needs a time step")
    if source == "builtin":
        text = corpus.standard_library()
    elif source == "tfds":
        text = corpus.tiny_shakespeare(data_dir)
    else:
        text = corpus.own_corpus(source)
    if len(text.train) < 10 * steps:
        raise UserError(
            f"{text.about['name']} has {len(text.train)} training characters; expected at least {10 * steps}"
        )
    vocabulary, numbers = text.numbered(unit, size)
    parts = dict(zip(SPLITS, numbers))

    def batches(split: str, batch_size: int, seed: Any) -> Any:
        part, most = parts[split], steps if split == "train" else 0  # training starts at a random offset in every epoch
        length = len(part) - most

        def read(epoch_seed: Any) -> Any:
            offset = int(np.random.default_rng(int(epoch_seed)).integers(most + 1))
            yield from corpus.lanes(part[offset : offset + length], batch_size, steps)

        shape = tf.TensorSpec((batch_size, None), tf.int32)
        dataset = tf.data.Dataset.from_generator(read, args=(seed,), output_signature=(shape, shape))
        return dataset.apply(tf.data.experimental.assert_cardinality(corpus.lanes_count(length, batch_size, steps)))

    pieces = {}
    for split, part in parts.items():
        rows = (len(part) - 1) // steps
        pairs = (part[: rows * steps].reshape(rows, steps), part[1 : rows * steps + 1].reshape(rows, steps))
        pieces[split] = tf.data.Dataset.from_tensor_slices(pairs)
    return Data(
        **pieces,
        vocabulary=vocabulary,
        build={"vocabulary": vocabulary},
        batches=batches,
        notes=[] if source in ("builtin", "tfds") else text.notes(unit, vocabulary),
        show=lambda x, y: ("" if unit == "character" else " ").join(vocabulary[number] for number in x),
        **text.about,
    )


def device(model: Any, precision: str = "float32") -> DeviceModel:
    """Return the model with zero initial states. `keras_gates.edge` computes the indices of characters or words with the file's
    vocabulary.

    Args:
        model: a model of `build`.
        precision: of the .tflite file.
    """
    characters = all(len(token) == 1 for token in _alphabet(model).vocabulary[1:])
    frontend = {"standardize": None, "split": "character" if characters else "whitespace"}
    return DeviceModel(with_batch(model, None), lambda numbers: numbers, {"frontend": frontend})


def _alphabet(model: Any) -> Any:
    """Return the layer that knows the vocabulary; a layer trained in integers holds it."""
    layer = model.get_layer("alphabet")
    return getattr(layer, "layer", layer)


def compile(model: Any, recipe: Any, steps: int | None) -> None:
    """Compile with cross-entropy in nats and clipping by the global norm of all gradients. Schedule "halved" halves the learning
    rate in every epoch after the fourth.

    Args:
        model: a model of `build`.
        recipe: with every entry of `keras_gates.models.training.recipe.DEFAULTS`.
        steps: number of all training steps; None if it is not known.
    """
    if recipe["schedule"] == "halved" and steps:
        edges = [steps // recipe["epochs"] * epoch for epoch in range(4, recipe["epochs"])]
        rates = [recipe["learning_rate"] / 2**power for power in range(len(edges) + 1)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(edges, rates)
    else:
        rate = learning_rate(recipe, steps)
    optimizers = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}
    if recipe["optimizer"] not in optimizers:
        raise UserError(f'optimizer must be "adam" or "sgd", not {recipe["optimizer"]!r}')
    model.compile(
        optimizers[recipe["optimizer"]](rate, global_clipnorm=recipe["clipnorm"], **decays(recipe)),
        loss="sparse_categorical_crossentropy",
    )


def callbacks(model: Any) -> list:
    """Return a callback that resets the states before every epoch and every evaluation."""

    def reset(*_: Any) -> None:
        for layer in model.layers:
            if getattr(layer, "stateful", False):
                layer.reset_states()

    return [keras.callbacks.LambdaCallback(on_epoch_begin=reset, on_test_begin=reset)]


def judge(model: Any, data: Any, folder: Path) -> Judgement:
    """Measure bits per character (or perplexity per word) on the test split, divided into 8 sequences whose states are carried
    over to their end, and generate text.

    Args:
        model: a trained model of `build`.
        data: its data.
        folder: unused: there are no pictures.
    """
    reader = with_batch(model, 8)
    reader.compile(loss="sparse_categorical_crossentropy")
    nats = reader.evaluate(data.batches("test", 8, 0), callbacks=callbacks(reader), verbose=0)
    characters = all(len(token) == 1 for token in data.vocabulary[1:])
    scores = {"bits per character": nats / np.log(2)} if characters else {"perplexity": float(np.exp(nats))}
    start = data.show(next(data.test.as_numpy_iterator())[0], None)[:60]
    count = 400 if characters else 60
    pieces = [
        ["Generated text:"],
        *(
            ["", f"Temperature {temperature}", "", "```", write(model, start, count, temperature), "```"]
            for temperature in (0.5, 0.8)
        ),
    ]
    return Judgement({**scores, "loss": float(nats)}, text=[line for piece in pieces for line in piece])


def score(data: Data, probabilities: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Return the bits per token, each piece of text read from zero states.

    Args:
        data: of the model.
        probabilities: (pieces, time, vocabulary).
        actual: (pieces, time), int.
    """
    chances = np.take_along_axis(probabilities, actual[..., None].astype(int), -1)
    return {"bits": float(-np.log2(np.maximum(chances, 1e-12)).mean())}


def write(model: Any, start: str, count: int = 200, temperature: float = 0.8, seed: int = 0) -> str:
    """Generate text.

    Args:
        model: a model of `build`.
        start: the first characters or words; at least one.
        count: number of characters or words to generate.
        temperature: of the sampling: near 0 only the most likely, 1 the model's probabilities, above 1 flatter ones.
        seed: random seed of the sampling.

    Returns:
        `start` and the generated text.

    Raises:
        ValueError: `temperature` is not positive, or `start` is empty.

    Example:
        print(write(keras_gates.models.load("language"), "ROMEO:", 300))
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0; got {temperature}")
    alphabet = _alphabet(model)
    characters = all(len(token) == 1 for token in alphabet.vocabulary[1:])
    numbers = alphabet.numbers(start if characters else start.split())
    if not len(numbers):
        raise ValueError("start is empty; give at least one character or word")
    generator, random = with_batch(model, 1), np.random.default_rng(seed)
    written = list(numbers)
    latest = numbers
    for _ in range(count):
        output = keras.ops.convert_to_numpy(generator(np.array(latest)[None]))
        probabilities = output[0, -1].astype("float64")
        probabilities[0] = 0  # never the unknown character or word
        probabilities = np.maximum(probabilities, 1e-12) ** (1 / temperature)
        latest = [int(random.choice(len(probabilities), p=probabilities / probabilities.sum()))]
        written += latest
    return ("" if characters else " ").join(alphabet.vocabulary[number] for number in written)


MODEL = ZooModel(
    name="language",
    line="the next character or word of a text",
    task="characters or words",
    build=build,
    data=data,
    presets=PRESETS,
    recipe=RECIPE,
    builtin="600,000 characters of Python's standard library",
    tfds=("tiny_shakespeare",),
    files="a text file, or a folder with train, valid and test .txt files (Penn Treebank)",
    published=PUBLISHED,
    tried=TRIED,
    compile=compile,
    callbacks=callbacks,
    judge=judge,
    device=device,
    score=score,
)
