"""The zoo: ready-made sequence models, each one file, each trained by `python train.py NAME`.

from keras_gates import models

models.names()                                   # ("show", "digits", …)
model = models.build("digits", preset="rows")    # a fresh keras.Model
model = models.load("digits")                    # a trained one
model = models.from_preset("text/sentiment-nano")   # the same, by one name
path = models.load("digits", format="tflite")    # the file for the device
"""

from keras_gates.models.registry import Judgement, UserError, ZooModel, build, card, find, from_preset, load, names

__all__ = ["Judgement", "UserError", "ZooModel", "build", "card", "find", "from_preset", "load", "names"]
