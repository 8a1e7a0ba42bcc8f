"""Trains a model of the zoo on built-in data, TFDS data or your own: `python train.py --help`."""

import sys

from keras_gates.models.training import main

if __name__ == "__main__":
    sys.exit(main())
