"""speech: which word was spoken. Sound goes in; log-mel events, LSTM and answer are one model.

Built in are five vowels, generated; `--data tfds` is spoken_digit (the Free Spoken Digit Dataset), and `--data FOLDER`
your own wav files, one sub-folder a word:

    python train.py speech --data words/            # words/yes/1.wav, words/no/7.wav, …
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras_gates.models.registry import UserError, ZooModel

PRESETS = {
    "base": {
        "about": "two layers that read the sound once, and can follow a microphone",
        "build": {"units": 96, "layers": 2},
    },
    "small": {"about": "two layers of 64; streams", "build": {"units": 64, "layers": 2, "pooled": False}},
    "nano": {
        "about": "for a microcontroller; streams",
        "build": {"units": 48, "layers": 2, "bins": 24, "dropout": 0.1, "pooled": False},
    },
    "commands": {
        "about": "speech_commands, 12 words, 16 kHz",
        "build": {"units": 160, "layers": 2},
        "data": {"dataset": "speech_commands"},
        "recipe": {"batch_size": 128},
    },
}

RECIPE = {
    "epochs": 60,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "warmup": 0.03,
    "clipnorm": 1.0,
    "weight_decay": 1e-3,
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
    "monitor": "val_accuracy",
}

PUBLISHED = (
    {
        "figure": "Speech Commands V2, 12 words, test accuracy",
        "value": "97.3 %",
        "source": "Rybakov et al. 2020 (kws_streaming), LSTM",
        "protocol": "another data set: 35 words' recordings, 12 classes; 723 KB quantized",
    },
    {
        "figure": "Speech Commands V1, 12 words, test accuracy",
        "value": "92.9 % small, 94.8 % large",
        "source": "Zhang et al. 2017 (Hello Edge), LSTM",
        "protocol": "another data set: V1, 12 classes; large 499 KB",
    },
)

TRIED = (
    "One speaker left out, base, seed 0: jackson 84.4 %, theo 93.4 %, yweweler 83.6 %, nicolas 73.8 %, george 59.0 %: four "
    "voices to learn from are few, and the fifth may differ more than the augmentation reaches. A plain LSTM on log-mel "
    "gets 32 to 71 %.",
    "nano with one layer of 32 units: 87.2 %; two layers of 48, as now, 98.0 %.",
)


def build(
    samples: int = 8000,
    sample_rate: int = 8000,
    classes: int = 10,
    units: int = 96,
    layers: int = 2,
    bins: int = 40,
    dropout: float = 0.2,
    pooled: bool = True,
    augment: bool = True,
    formulation: str = "standard",
) -> Any:
    """Sound (batch, samples), −1…1, to probabilities (batch, classes).

    Args:
        samples: of a recording; one second as a rule.
        sample_rate: in Hz.
        classes: how many words there are.
        units: of each GateLSTM.
        layers: how many GateLSTM stand on each other.
        bins: mel bands of an event.
        dropout: between the layers and before the answer.
        pooled: answer from the strongest that each unit said at any time, not from the last STM. More accurate, but
            then the whole
            recording must be heard: without it the answer is there at every event, and the model streams.
        augment: while training, let other voices say it too (`AnotherVoice`).
        formulation: "standard" or "article".
    """
    import keras
    from keras_gates.models.layers.logmel import AnotherVoice, LogMel

    from keras_gates import GateLSTM

    sound = keras.Input((samples,), name="sound")
    hop = sample_rate * 2 // 125
    events = LogMel(sample_rate, frame=2 * hop, hop=hop, bins=bins, name="log_mel")(sound)
    if augment:
        events = AnotherVoice(name="another_voice")(events)
    events = keras.layers.BatchNormalization(center=False, scale=False, name="loudness")(events)
    for layer in range(layers):
        every = pooled or layer < layers - 1
        events = GateLSTM(units, return_sequences=every, formulation=formulation, name=f"memory_{layer + 1}")(events)
        events = keras.layers.Dropout(dropout, name=f"dropout_{layer + 1}")(events)
    if pooled:
        events = keras.layers.GlobalMaxPooling1D(name="strongest")(events)
    answer = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="word")(events)
    return keras.Model(sound, answer, name="speech")


def data(
    source: str = "builtin",
    data_dir: str | None = None,
    seed: int = 0,
    dataset: str = "spoken_digit",
    speaker: str | None = None,
    seconds: float | None = None,
    sample_rate: int | None = None,
) -> Any:
    """Generated vowels ("builtin"), spoken_digit or speech_commands ("tfds"), or a folder of wav files, one sub-folder
    a word.

    Args:
        dataset: "spoken_digit" or "speech_commands", where source is "tfds".
        speaker: of spoken_digit, whose recordings are kept for the test.
        seconds: of a recording; None is long enough for 19 of 20, 1 at least and 4 at most. Of longer ones the loudest
            part is heard.
        sample_rate: of the user's files, to which the others are resampled; None is the lowest there is, 16,000 Hz at
            most.
    """
    from keras_gates.models.data import audio
    from keras_gates.models.data.pipeline import from_arrays

    if source == "builtin":
        recordings = audio.vowels(seed)
    elif source != "tfds":
        recordings = audio.wav_folder(source, sample_rate)
    elif dataset == "spoken_digit":
        recordings = audio.spoken_digit(data_dir, speaker)
    elif dataset == "speech_commands":
        recordings = audio.speech_commands(data_dir)
    else:
        raise UserError(f'dataset must be "spoken_digit" or "speech_commands", not {dataset!r}')
    rate = recordings.sample_rate
    samples = round(rate * (seconds or _long_enough(recordings)))
    splits = [(audio.windows(sounds, samples), classes) for sounds, classes in recordings.splits()]
    return from_arrays(
        *splits,
        labels=recordings.labels,
        build={"samples": samples, "sample_rate": rate, "classes": len(recordings.labels)},
        augment_batch=_said_otherwise,
        show=lambda x, y: f"{len(x) / rate:.1f} s of sound",
        **recordings.about,
    )


def device(model: Any, precision: str = "float32") -> tuple[Any, Any, dict[str, Any]]:
    """The whole model, sound in; with integers, where a logarithm and a Fourier transform have no place, log-mel events in: those
    `keras_gates.edge` and the C kit make of the sound as the file's metadata say."""
    from keras_gates.models.front_end_split import behind

    ear = model.get_layer("log_mel")
    frontend = {name: getattr(ear, name) for name in ("sample_rate", "frame", "hop", "bins", "low", "high", "floor")}
    frontend = {"kind": "log_mel", **{name: value for name, value in frontend.items() if value is not None}}
    if precision in ("float32", "float16"):
        return model, lambda sound: sound, {"frontend": {**frontend, "inside": True}}
    return behind(model, "log_mel", "log_mel_events"), lambda sound: np.array(ear(sound)), {"frontend": frontend}


def _long_enough(recordings: Any) -> float:
    seconds = np.percentile([len(sound) for sound in recordings.train[0]], 95) / recordings.sample_rate
    return float(np.clip(np.ceil(seconds * 2) / 2, 1.0, 4.0))


def _said_otherwise(x: Any, y: Any, seed: Any) -> tuple[Any, Any]:
    """A batch of recordings, each up to a fifth faster or slower (and so higher or lower), up to an eighth earlier or
    later, as loud as if −30…0 dB below full scale, in noise 44…90 dB below it."""
    import tensorflow as tf

    count, samples = tf.shape(x)[0], tf.shape(x)[1]
    drawn = tf.random.stateless_uniform((4, count, 1), seed, -1.0, 1.0)
    middle = tf.cast(samples, "float32") / 2
    time = tf.range(tf.cast(samples, "float32"))[None]
    source = (time - middle * (1 + 0.25 * drawn[1])) * tf.exp(0.18 * drawn[0]) + middle
    before = tf.clip_by_value(tf.cast(tf.floor(source), "int32"), 0, samples - 2)
    part = source - tf.cast(before, "float32")
    heard = tf.gather(x, before, batch_dims=1) * (1 - part) + tf.gather(x, before + 1, batch_dims=1) * part
    heard = tf.where((part >= 0) & (part <= 1), heard, 0.0)
    loudest = tf.reduce_max(tf.abs(heard), axis=1, keepdims=True)
    heard = heard / (loudest + 1e-6) * 10 ** (0.75 * drawn[2] - 0.75)
    noise = tf.random.stateless_normal(tf.shape(x), seed + 1) * 10 ** (1.15 * drawn[3] - 3.35)
    return heard + noise, y


MODEL = ZooModel(
    name="speech",
    line="which word was spoken",
    task="spoken words",
    build=build,
    data=data,
    presets=PRESETS,
    recipe=RECIPE,
    builtin="450 generated vowels, five classes",
    tfds=("spoken_digit", "speech_commands"),
    files="a folder with one sub-folder of wav files a word",
    published=PUBLISHED,
    tried=TRIED,
    device=device,
)
