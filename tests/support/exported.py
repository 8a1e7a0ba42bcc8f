"""Small models and their exported files, each made once a test run: what the tests of the device side run."""

import functools
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_gates import GateLSTM

TIME, FEATURES, CLASSES = 12, 4, 3
LABELS = ["no", "yes", "other"]
VOCABULARY = ["", "[UNK]", "turn", "it", "off", "on"]
BINS = 12
FRONTEND = {"kind": "log_mel", "sample_rate": 8000, "frame": 256, "hop": 128, "bins": BINS}
X = np.random.default_rng(0).normal(size=(40, TIME, FEATURES)).astype("float32")
KEPT = os.environ.get("KERAS_GATES_EXPORTED")  # a folder whose files are taken as they are: benchmarks/mutation.py
FOLDER = tempfile.TemporaryDirectory(prefix="keras_gates_exported_")


@dataclass
class Exported:
    """A Keras model and the folder that `export` filled."""

    keras: keras.Model
    folder: Path

    @property
    def path(self):
        return self.folder / "model.tflite"

    @property
    def data(self):
        return self.path.read_bytes()

    def wanted(self, x):
        """What Keras says."""
        return self.keras.predict(x, verbose=0)


def classifier(**arguments):
    events = keras.Input((None, FEATURES), name="event")
    return keras.Model(events, keras.layers.Dense(CLASSES, activation="softmax")(GateLSTM(8, **arguments)(events)))


def both_ways():
    events = keras.Input((TIME, FEATURES), name="event")
    hidden = keras.layers.Bidirectional(GateLSTM(6))(events)
    return keras.Model(events, keras.layers.Dense(CLASSES, activation="softmax")(hidden))


def words():
    tokens = keras.Input((TIME,), dtype="int32", name="words")
    hidden = GateLSTM(8)(keras.layers.Embedding(len(VOCABULARY), 5, mask_zero=True)(tokens))
    return keras.Model(tokens, keras.layers.Dense(CLASSES, activation="softmax")(hidden))


def hearing():
    events = keras.Input((None, BINS), name="log_mel_events")
    return keras.Model(events, keras.layers.Dense(CLASSES, activation="softmax")(GateLSTM(8)(events)))


def several():
    one, other = keras.Input((None, 3), name="one"), keras.Input((None, 2), name="other")
    hidden = GateLSTM(6, return_sequences=True)(keras.layers.Concatenate()([one, other]))
    tags = keras.layers.Dense(2, name="tags")(hidden)
    mood = keras.layers.Dense(1, activation="sigmoid", name="mood")(GateLSTM(4)(hidden))
    return keras.Model([one, other], [tags, mood])


RECIPES = {
    "float": (classifier, {}),
    "int8": (classifier, {"precision": "int8", "calibration": X}),
    "stream": (classifier, {"mode": "stream"}),
    "micro": (
        classifier,
        {"mode": "stream", "target": "micro", "precision": "int8", "calibration": X, "lowering": "fused"},
    ),
    "micro_step": (classifier, {"mode": "stream", "target": "micro", "precision": "int8", "calibration": X}),
    "micro16": (classifier, {"mode": "stream", "target": "micro", "precision": "int16x8", "calibration": X}),
    "article": (functools.partial(classifier, formulation="article"), {"mode": "stream", "calibration": X}),
    "article_int8": (
        functools.partial(classifier, formulation="article"),
        {"mode": "stream", "precision": "int8", "calibration": X},
    ),
    "both_ways": (both_ways, {}),
    "words": (words, {}),
    "several": (several, {}),
    "hearing": (hearing, {"steps": 10}),
}


@functools.cache
def exported(name):
    """The model `name` of RECIPES and its file."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("export() runs on the TensorFlow backend")
    pytest.importorskip("ai_edge_litert")
    from keras_gates import export

    build, arguments = RECIPES[name]
    keras.utils.set_random_seed(3)
    model = build()
    metadata = {"labels": LABELS, "licence": "Apache-2.0"}
    if name == "words":
        metadata["vocabulary"] = VOCABULARY
    if name == "hearing":
        metadata["frontend"] = FRONTEND
    if name == "several":
        metadata = {}
    folder = Path(KEPT or FOLDER.name, name)
    if not (folder / "model.tflite").exists():
        export(model, folder, formats=["tflite"], metadata=metadata, **arguments)
    return Exported(model, folder)
