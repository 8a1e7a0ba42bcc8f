"""Trains a model of the zoo on built-in data, TFDS data or your own: `python train.py --help`."""

from keras_gates.models.training import program

if __name__ == "__main__":
    program()
