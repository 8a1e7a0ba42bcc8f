"""The zoo: ready-made sequence models, each one file, each trained by `python train.py NAME`.

    from keras_gates import models

    models.names()                                   # ("show", "digits", …)
    model = models.build("digits", preset="rows")    # a fresh keras.Model
    model = models.load("digits")                    # a trained one
    path = models.load("digits", format="tflite")    # the file for the device

With Keras installed, importing this package registers the layers of its models, so that `keras.models.load_model` finds them.
"""

import importlib.util

from keras_gates.models.registry import Judgement, UserError, ZooModel, build, card, find, load, names

__all__ = ["Judgement", "UserError", "ZooModel", "build", "card", "find", "load", "names"]

if importlib.util.find_spec("keras") is not None:
    from keras_gates.models import alphabet, logmel, words  # noqa: F401  (registers the layers)
