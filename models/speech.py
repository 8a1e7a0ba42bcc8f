"""speech: which word was spoken. The input is audio; log-mel front end, LSTM and classifier are one model.

Built in are five generated vowels; `--data tfds` is spoken_digit (the Free Spoken Digit Dataset), and `--data FOLDER` your own
WAV files, one sub-folder per word:

    python train.py speech --data words/            # words/yes/1.wav, words/no/7.wav, …
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import keras_gates
from keras_gates.edge.sound import SUFFIXES, windows
from keras_gates.models import layers as zoo_layers
from keras_gates.models.data import audio
from keras_gates.models.data.intervals import long_recordings
from keras_gates.models.data.pipeline import Data, class_weights, from_arrays
from keras_gates.models.front_end_split import without_front_end
from keras_gates.models.lazy import keras, tf
from keras_gates.models.registry import DeviceModel, UserError, ZooModel

PRESETS = {
    "base": {
        "about": "two layers of 96, max pooling over time",
        "build": {"units": 96, "layers": 2},
    },
    "small": {
        "about": "two layers of 64; can stream from a microphone",
        "build": {"units": 64, "layers": 2, "pooled": False},
    },
    "nano": {
        "about": "for a microcontroller; can stream from a microphone",
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
    "training voices are few, and the fifth may differ from them more than the augmentation covers. A plain LSTM on log-mel "
    "gets 32 to 71 %.",
    "nano with one layer of 32 units: 87.2 %; two layers of 48, as at present, 98.0 %.",
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
    filters: Sequence[int] = (),
    stretch: float = 0.1,
    tilt: float = 0.6,
    masks: int = 1,
    augment: bool = True,
    formulation: str = "standard",
) -> Any:
    """Build the model: audio (batch, samples), −1…1, to probabilities (batch, classes).

    Args:
        samples: per recording; usually one second.
        sample_rate: in Hz.
        classes: number of words.
        units: of each GateLSTM.
        layers: number of stacked GateLSTM.
        bins: mel bands per event.
        dropout: rate between the layers and before the output layer.
        pooled: global max pooling over time instead of the last output. More accurate, but needs the whole recording: without
            it the model has a prediction at every time step and can stream.
        filters: of one-dimensional convolutions over 5 events in front of the memory, each followed by max pooling over 2, so
            that the memory has fewer time steps.
        stretch, tilt, masks: of the voice augmentation.
        augment: apply voice augmentation during training (`keras_gates.models.layers.AnotherVoice`).
        formulation: "standard" or "article".

    Returns:
        A `keras.Model`, not compiled.
    """
    sound = keras.Input((samples,), name="sound")
    hop = sample_rate * 2 // 125
    events = zoo_layers.LogMel(sample_rate, frame=2 * hop, hop=hop, bins=bins, name="log_mel")(sound)
    if augment:
        events = zoo_layers.AnotherVoice(stretch, tilt, masks, name="another_voice")(events)
    events = keras.layers.BatchNormalization(center=False, scale=False, name="loudness")(events)
    for number, count in enumerate(filters, 1):
        events = keras.layers.Conv1D(count, 5, activation="relu", name=f"convolution_{number}")(events)
        events = keras.layers.BatchNormalization(name=f"scale_{number}")(events)
        events = keras.layers.MaxPooling1D(2, name=f"loudest_{number}")(events)
    for layer in range(layers):
        every = pooled or layer < layers - 1
        memory = keras_gates.GateLSTM(
            units, return_sequences=every, formulation=formulation, name=f"memory_{layer + 1}"
        )
        events = memory(events)
        events = keras.layers.Dropout(dropout, name=f"dropout_{layer + 1}")(events)
    if pooled:
        events = keras.layers.GlobalMaxPooling1D(name="strongest")(events)
    output = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="word")(events)
    return keras.Model(sound, output, name="speech")


def data(
    source: str = "builtin",
    data_dir: str | None = None,
    seed: int = 0,
    dataset: str = "spoken_digit",
    speaker: str | None = None,
    seconds: float | None = None,
    sample_rate: int | None = None,
    group: str | None = None,
    split: str = "random",
    stride: float | None = None,
    background: str = "background",
) -> Data:
    """Load generated vowels ("builtin"), spoken_digit or speech_commands ("tfds"), or a folder of sound files with one
    sub-folder per word, or long recordings with labelled intervals (`keras_gates.models.data.intervals`).

    Args:
        source: "builtin", "tfds", or a path.
        data_dir: folder of the TFDS data sets.
        seed: of the generated vowels.
        dataset: "spoken_digit" or "speech_commands", if the source is "tfds".
        speaker: of spoken_digit, whose recordings are the test split.
        seconds: per recording; None is the length of 19 of 20 recordings, between 1 and 4 s. Of longer ones the loudest part
            is used.
        sample_rate: in Hz, to which the user's files are resampled; None is their lowest rate, at most 16,000 Hz.
        group: "name": no part of a file's name up to the first "_", such as a speaker, is in two parts of the user's data.
        split: of the user's data, "random" or "time".
        stride: seconds between the starts of two windows of a long recording; None is half of a window.
        background: label of windows of a long recording without an interval; "" leaves them out.

    Raises:
        UserError: a value is unknown, or the data cannot be read.
    """
    if seconds is not None and not 0.05 <= seconds <= 60:
        raise UserError(f"seconds must be between 0.05 and 60, not {seconds!r}")
    if source == "builtin":
        recordings = audio.vowels(seed)
    elif source != "tfds" and long_recordings(source, SUFFIXES):
        recordings = audio.long_sounds(source, sample_rate, seconds or 1.0, stride, background or "", group, split)
    elif source != "tfds":
        recordings = audio.wav_folder(source, sample_rate, group, split)
    elif dataset == "spoken_digit":
        recordings = audio.spoken_digit(data_dir, speaker)
    elif dataset == "speech_commands":
        recordings = audio.speech_commands(data_dir)
    else:
        raise UserError(f'dataset must be "spoken_digit" or "speech_commands", not {dataset!r}')
    rate = recordings.sample_rate
    samples = round(rate * (seconds or _long_enough(recordings)))
    splits = [(windows(sounds, samples), classes) for sounds, classes in recordings.splits()]
    return from_arrays(
        *splits,
        labels=recordings.labels,
        build={"samples": samples, "sample_rate": rate, "classes": len(recordings.labels)},
        augment_batch=_with_noise(recordings.noise, samples) if recordings.noise else _augmented,
        show=lambda x, y: f"{len(x) / rate:.1f} s of audio",
        notes=recordings.notes,
        class_weights=None if source in ("builtin", "tfds") else class_weights(recordings.train[1]),
        **recordings.about,
    )


def device(model: Any, precision: str = "float32") -> DeviceModel:
    """Return the whole model, with audio as its input; for integer precisions the part after the log-mel front end, because a
    logarithm and a Fourier transform lose too much in integers. `keras_gates.edge` and the C kit then compute the log-mel
    events as the file's metadata describe.

    Args:
        model: a model of `build`.
        precision: of the .tflite file.
    """
    log_mel = model.get_layer("log_mel")
    frontend = {
        name: getattr(log_mel, name) for name in ("sample_rate", "frame", "hop", "bins", "low", "high", "floor")
    }
    frontend = {"kind": "log_mel", **{name: value for name, value in frontend.items() if value is not None}}
    if precision in ("float32", "float16"):
        return DeviceModel(model, lambda sound: sound, {"frontend": {**frontend, "inside": True}})
    core = without_front_end(model, "log_mel", "log_mel_events")
    return DeviceModel(core, lambda sound: np.array(log_mel(sound)), {"frontend": frontend})


def _long_enough(recordings: Any) -> float:
    seconds = np.percentile([len(sound) for sound in recordings.train[0]], 95) / recordings.sample_rate
    return float(np.clip(np.ceil(seconds * 2) / 2, 1.0, 4.0))


def _augmented(x: Any, y: Any, seed: Any) -> tuple[Any, Any]:
    """A batch of recordings with random speed and pitch (± 20 %), shift (± 1/8 of the length), peak level (−30…0 dB of full
    scale) and noise (−90…−44 dB)."""
    count, samples = tf.shape(x)[0], tf.shape(x)[1]
    drawn = tf.random.stateless_uniform((4, count, 1), seed, -1.0, 1.0)
    middle = tf.cast(samples, "float32") / 2
    time = tf.range(tf.cast(samples, "float32"))[None]
    source = (time - middle * (1 + 0.25 * drawn[1])) * tf.exp(0.18 * drawn[0]) + middle
    before = tf.clip_by_value(tf.cast(tf.floor(source), "int32"), 0, samples - 2)
    part = source - tf.cast(before, "float32")
    moved = tf.gather(x, before, batch_dims=1) * (1 - part) + tf.gather(x, before + 1, batch_dims=1) * part
    moved = tf.where((part >= 0) & (part <= 1), moved, 0.0)
    loudest = tf.reduce_max(tf.abs(moved), axis=1, keepdims=True)
    moved = moved / (loudest + 1e-6) * 10 ** (0.75 * drawn[2] - 0.75)
    noise = tf.random.stateless_normal(tf.shape(x), seed + 1) * 10 ** (1.15 * drawn[3] - 3.35)
    return moved + noise, y


def _with_noise(noise: Sequence[np.ndarray], samples: int) -> Any:
    """Return `_augmented`, which also mixes a random piece of the noise into half of the recordings, 10 to 30 dB below their
    peak.

    Args:
        noise: recordings (samples,).
        samples: per recording.
    """
    long = np.concatenate([np.resize(each, max(len(each), samples)) for each in noise])
    long /= np.abs(long).max() + 1e-6

    def augmented(x: Any, y: Any, seed: Any) -> tuple[Any, Any]:
        moved, y = _augmented(x, y, seed)
        drawn = tf.random.stateless_uniform((2, tf.shape(x)[0], 1), seed + 2)
        starts = tf.random.stateless_uniform((tf.shape(x)[0], 1), seed + 3, 0, len(long) - samples + 1, "int32")
        pieces = tf.gather(tf.constant(long, "float32"), starts + tf.range(samples)[None])
        loudness = tf.reduce_max(tf.abs(moved), axis=1, keepdims=True) * 10 ** (-0.5 - drawn[0])
        return moved + tf.where(drawn[1] < 0.5, loudness, 0.0) * pieces, y

    return augmented


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
    files="a folder with one sub-folder of WAV, FLAC, OGG or MP3 files per word, or long recordings with labelled intervals",
    published=PUBLISHED,
    tried=TRIED,
    device=device,
)
